"""What can be done from Python: training, and a trained model that takes images as they come."""

import doctest
import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from conftest import tiny_run
from numpy.typing import NDArray

import iwae_cli as iwae
from iwae_cli.core.errors import CheckpointError, ConfigError, DataError, ReportError
from iwae_cli.evaluation import likelihood, trained_model
from iwae_cli.evaluation.trained_model import TrainedModel

Images = NDArray[np.float32]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with one trained run, and the working directory of this file's tests."""
    folder, before = tmp_path_factory.mktemp("python"), Path.cwd()
    os.chdir(folder)
    iwae.train("dataset=digits", "k=5", "optimizer.passes=1", "then.pictures=false")
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def model(home: Path) -> TrainedModel:
    return iwae.load(next((home / "outputs" / "runs").iterdir()))


@pytest.fixture(scope="module")
def images() -> Images:
    return np.random.default_rng(0).random((6, 64), dtype=np.float32)


def test_what_commands_call_is_there_by_one_name() -> None:
    for name in iwae.__all__:
        assert getattr(iwae, name) is not None
    assert set(iwae.COMMANDS) < set(iwae.__all__)
    with pytest.raises(AttributeError, match="no attribute 'trane'"):
        iwae.trane  # noqa: B018


EXAMPLES = [iwae, trained_model, likelihood, *map(import_module, iwae.COMMANDS.values())]


@pytest.mark.parametrize("module", EXAMPLES, ids=lambda m: m.__name__)
def test_the_examples_of_public_names_run(
    home: Path, model: TrainedModel, images: Images, module: ModuleType
) -> None:
    run = iwae.train("dataset=digits", "k=5", "optimizer.passes=1", "then.pictures=false")
    names = {"run": run, "model": model, "images": images, **vars(iwae)}
    tried = doctest.testmod(module, extraglobs=names)
    assert tried.attempted > 0
    assert tried.failed == 0


@pytest.mark.parametrize("shape", [(6, 64), (6, 8, 8), (6, 1, 8, 8), (6, 8, 8, 1)])
@pytest.mark.parametrize("kind", ["float32", "float64", "uint8", "tensor", "list", "F"])
def test_images_come_in_any_type_and_shape(
    model: TrainedModel, images: Images, shape: tuple[int, ...], kind: str
) -> None:
    whole = np.round(images * 255)
    given: Any = {
        "float32": (whole / 255).astype(np.float32),
        "float64": whole / 255,
        "uint8": whole.astype(np.uint8),
        "tensor": torch.from_numpy((whole / 255).astype(np.float32)),
        "list": (whole / 255).tolist(),
        "F": np.asfortranarray(whole / 255),
    }[kind]
    given = np.reshape(given, shape).tolist() if kind == "list" else given.reshape(shape)
    expected = model.log_likelihood((whole / 255).astype(np.float32), k=5).log_p
    np.testing.assert_allclose(model.log_likelihood(given, k=5).log_p, expected, rtol=1e-5)


def test_samples_and_reconstructions_have_the_shape_of_the_images(
    model: TrainedModel, images: Images
) -> None:
    assert model.sample(4).shape == (4, 8, 8)
    assert np.array_equal(model.sample(4), model.sample(5)[:4])
    assert not np.array_equal(model.sample(4), model.sample(4, seed=1))
    rebuilt = model.reconstruct(images)
    assert rebuilt.shape == (6, 8, 8)
    assert ((rebuilt > 0) & (rebuilt < 1)).all()
    encoded = model.encode(images, k=7, samples=3)
    assert encoded.samples[0].shape == (6, 3, 50)
    assert (encoded.ess <= 7).all()
    assert "k=5, latents 50" in repr(model)


@pytest.mark.parametrize(
    ("bad", "part"),
    [
        (np.full((2, 64), 255.0), "divide them by 255"),
        (np.full((2, 64), -1), "[0, 1]"),
        (np.full((2, 64), np.nan), "NaN"),
        (np.zeros((2, 63)), "of 63 pixels, the model was trained on 64"),
        (np.zeros(64), "[N, D]"),
        (np.zeros((0, 64)), "not empty"),
        ([["a"] * 64], "numbers"),
    ],
)
def test_what_is_no_image_is_refused(model: TrainedModel, bad: Any, part: str) -> None:
    for call in (model.log_likelihood, model.encode, model.reconstruct):
        with pytest.raises(DataError) as caught:
            call(bad)
        assert part in str(caught.value)


def test_numbers_out_of_range_are_refused(model: TrainedModel, images: Images) -> None:
    for call in (
        lambda: model.sample(0),
        lambda: model.log_likelihood(images, k=0),
        lambda: model.encode(images, samples=0),
        lambda: iwae.train("k=0"),
        lambda: iwae.train("kk=5"),
    ):
        with pytest.raises(ConfigError):
            call()
    with pytest.raises(CheckpointError):
        iwae.load("nowhere")


def test_training_from_python_is_training_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ReportError):
        iwae.list_runs(tmp_path)
    overrides = [word for word in tiny_run()[1:] if "=" in str(word)]
    run = iwae.train(*map(str, overrides))
    assert run.folder.exists()
    assert iwae.train(*map(str, overrides)).already_finished
    row = iwae.list_runs().iloc[0]
    assert (row["run"], row["state"]) == (run.folder.name, "finished")
    table = iwae.evaluate(run.folder, k=[1, 3], limit=20)
    assert table["k"].tolist() == [1, 3]
    assert (table["nll"] > 0).all()
