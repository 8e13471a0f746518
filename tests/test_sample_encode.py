"""Latents of images against the exact posterior, and the commands that sample and encode."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from conftest import Command, binary_images, tiny_model
from matplotlib.image import imread

from iwae_cli.cli.main import main
from iwae_cli.core import config
from iwae_cli.core.config import Arch
from iwae_cli.core.errors import ConfigError
from iwae_cli.data.binarisation import DYNAMIC, FIXED
from iwae_cli.evaluation.encoding import Encoding, encode, encode_images, resampled
from iwae_cli.evaluation.noise import EvaluationNoise
from iwae_cli.evaluation.visualisation import posterior_densities, sample, write_pictures
from iwae_cli.models.iwae import IWAE
from iwae_cli.runs.folder import RunFolder
from iwae_cli.training import run as training

SETTINGS: dict[str, Any] = {
    "arch": {"latents": [4, 2], "hidden": [[8], [6]]},
    "dataset": {"name": "digits"},
    "objective": {"name": "iwae"},
    "optimizer": {"name": "paper", "stages": 1},
    "k": 2,
    "threads": 1,
}


def trained_on(dataset: dict[str, Any], outputs: Path) -> Path:
    values = {**SETTINGS, "dataset": dataset, "outputs": str(outputs)}
    return training.run(config.parse(values)).folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a two-layer run on the digits."""
    return trained_on({"name": "digits"}, tmp_path_factory.mktemp("outputs"))


@pytest.fixture(scope="module")
def shapeless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on arrays of 7 pixels, which have no height and width."""
    folder = tmp_path_factory.mktemp("arrays")
    images = binary_images(60).numpy().astype(np.uint8)
    np.savez(folder / "mine.npz", train=images[:40], test=images[40:])
    return trained_on({"name": "arrays", "train": str(folder / "mine.npz")}, folder)


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="iwae")


def encoded(model: IWAE, count: int = 5, **options: Any) -> Encoding:
    images = (binary_images(count) * 0.8 + 0.1).float().numpy()
    values: dict[str, Any] = {
        "k": 300,
        "samples": 4,
        "noise": EvaluationNoise(2, model.latents),
        "binarisation": DYNAMIC,
    }
    return encode_images(model, images, **{**values, **options})


def test_draws_are_chosen_in_proportion_to_their_weights() -> None:
    log_w = torch.tensor([[0.2], [0.3], [0.0], [0.5]], dtype=torch.float64).log() - 900
    uniform = (np.arange(1000) + 0.5)[None] / 1000
    assert torch.bincount(resampled(log_w, uniform)[0]).tolist() == [200, 300, 0, 500]
    edges = np.array([[0.0, np.nextafter(1.0, 0.0)]])
    assert resampled(log_w, edges).tolist() == [[0, 3]]


def test_resampled_latents_have_the_exact_posterior_mean() -> None:
    """Within 5 standard errors: 6 comparisons, a false alarm in 3e5 runs."""
    model = tiny_model(Arch(latents=[2], hidden=[[5]]))
    # a recognition network that is off: its own mean must fail the same comparison
    model.recognition[0].mean.bias.data.add_(0.7)  # type: ignore[union-attr, operator]
    x = binary_images(3)
    grid = np.linspace(-7, 7, 281)
    true, _ = posterior_densities(model, x, grid, grid)
    mass = true.astype(float) / true.sum((1, 2), keepdims=True, dtype=float)
    mean = np.stack([mass.sum(1) @ grid, mass.sum(2) @ grid], axis=1)
    variance = np.stack([mass.sum(1) @ grid**2, mass.sum(2) @ grid**2], axis=1) - mean**2
    found = encode_images(
        model,
        x.float().numpy(),
        k=4000,
        samples=2000,
        noise=EvaluationNoise(0, model.latents),
        binarisation=FIXED,
    )
    error = np.sqrt(variance * (1 / 2000 + 1 / found.ess[:, None]))
    assert (np.abs(found.samples[0].mean(1) - mean) < 5 * error).all()
    assert (np.abs(found.means[0] - mean) > 5 * error).any()
    np.testing.assert_allclose(found.samples[0].var(1), variance, rtol=0.2)


def test_means_are_exact_in_the_first_layer_and_averages_over_draws_above(model: IWAE) -> None:
    found = encoded(model, 4, k=500, binarisation=FIXED)
    x = (binary_images(4) * 0.8 + 0.1).float().double()
    np.testing.assert_allclose(found.means[0], model.posterior_means(x).numpy(), rtol=1e-12)
    noise = model.draw_noise(5000, 4, torch.Generator().manual_seed(1))
    with torch.no_grad():
        latents = model.importance_sample(x, noise).latents
        for level in range(1, len(model.latents)):
            means = model.recognition[level](latents[level - 1]).mean
            error = means.std(0) * np.sqrt(1 / 500 + 1 / 5000)
            assert bool(
                ((means.mean(0) - torch.from_numpy(found.means[level])).abs() < 5 * error).all()
            )


def test_the_encoding_does_not_depend_on_the_batch_size(model: IWAE) -> None:
    whole, single = encoded(model), encoded(model, memory_bytes=1)
    for one, other in zip(
        [*whole.means, *whole.samples, whole.ess],
        [*single.means, *single.samples, single.ess],
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=1e-9)
    assert [array.shape for array in whole.samples] == [(5, 4, H) for H in model.latents]
    first = encoded(model, 5, samples=2)
    np.testing.assert_allclose(first.samples[0], whole.samples[0][:, :2], rtol=1e-9)


def test_one_draw_is_kept_whatever_its_weight(model: IWAE) -> None:
    found = encoded(model, k=1)
    assert found.ess.tolist() == [1.0] * 5
    for samples in found.samples:
        assert np.ptp(samples, axis=1).max() == 0


def test_encode_writes_what_its_help_page_says(trained: Path, tmp_path: Path) -> None:
    file = tmp_path / "new" / "latents.npz"
    options = ("--samples", "3", "--k", "20", "--limit", "25", "--output", file, "--json")
    (row,) = json.loads(invoke("encode", "--checkpoint", trained, *options).stdout)
    shapes = {"mean_1": [25, 4], "mean_2": [25, 2], "sample_1": [25, 3, 4], "sample_2": [25, 3, 2]}
    assert row["arrays"] == {**shapes, "ess": [25]}
    assert row["file"] == str(file)
    with np.load(file, allow_pickle=False) as arrays:
        assert {name: list(arrays[name].shape) for name in shapes} == shapes
        assert ((arrays["ess"] >= 1) & (arrays["ess"] <= 20)).all()
        settings = json.loads(str(arrays["settings"]))
    assert settings["run"] == trained.name
    assert (settings["split"], settings["k"], settings["seed"]) == ("test", 20, 0)
    assert list(file.parent.iterdir()) == [file]


def test_encode_is_repeatable_and_names_the_file_in_the_run_folder(trained: Path) -> None:
    command = ("encode", "--checkpoint", trained, "--split", "valid", "--k", "5")
    page = invoke(*command).stdout
    file = trained / "encoding_valid.npz"
    assert str(file) in page
    assert "[97, 1, 4]" in page
    first = dict(np.load(file))
    invoke(*command)
    assert all(np.array_equal(array, np.load(file)[name]) for name, array in first.items())
    invoke(*command, "--seed", "1")
    assert not np.array_equal(first["sample_1"], np.load(file)["sample_1"])


def test_sample_draws_a_grid_into_the_run_folder(trained: Path) -> None:
    result = invoke("sample", "--checkpoint", trained, "--count", "9", "--json")
    (row,) = json.loads(result.stdout)
    assert row["file"] == str(trained / "plots" / "samples.png")
    image = imread(row["file"])[..., :3]
    assert np.ptp(image, axis=2).max() == 0, "grey"
    assert len(np.unique(image)) > 50
    assert abs(image.shape[0] - image.shape[1]) < 10


def test_sample_needs_no_data_set(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iwae_cli.data.registry.find", None)
    images = sample(trained, count=5)
    assert images.shape == (5, 8, 8)
    np.testing.assert_allclose(images, sample(trained / "checkpoint.pt")[:5], rtol=1e-5)


def test_pictures_of_a_run_are_written_once_and_whole(trained: Path, shapeless: Path) -> None:
    file = write_pictures(trained, seed=3)
    assert file == RunFolder(trained).pictures == trained / "pictures.npz"
    with np.load(file, allow_pickle=False) as arrays:
        assert arrays["samples"].shape == (100, 8, 8)
        np.testing.assert_allclose(arrays["samples"], sample(trained, seed=3), rtol=1e-5)
    assert write_pictures(shapeless) is None
    assert not RunFolder(shapeless).pictures.exists()


def test_images_without_height_and_width_are_encoded_but_not_drawn(shapeless: Path) -> None:
    assert_one_line(
        invoke("sample", "--checkpoint", shapeless), "no height and width", "iwae encode"
    )
    assert invoke("encode", "--checkpoint", shapeless, "--k", "3").exit_code == 0


def assert_one_line(result: Result, *parts: str, code: int = 2) -> None:
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith("iwae: ")
    assert result.stderr.count("\n") == 1
    assert all(part in result.stderr for part in parts), result.stderr


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["sample", "--count", "0"], ["--count", "0"]),
        (["sample", "--seed", "-1"], ["--seed"]),
        (["sample", "--output", "samples.jpg"], ["'samples.jpg'", ".png"]),
        (["encode", "--k", "0"], ["--k"]),
        (["encode", "--samples", "0"], ["--samples"]),
        (["encode", "--limit", "0"], ["--limit"]),
        (["encode", "--seed", "-1"], ["--seed"]),
        (["encode", "--output", "latents.csv"], ["'latents.csv'", ".npz"]),
        (["encode", "--checkpoint", "a", "--checkpoint", "b", "--output", "c.npz"], ["one file"]),
        (["encode", "--split", "dev"], ["train", "valid", "test"]),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments: list[str], parts: list[str]) -> None:
    assert_one_line(invoke(*arguments), *parts)


@pytest.mark.parametrize("command", ["sample", "encode"])
def test_a_missing_checkpoint_is_one_line(command: str, tmp_path: Path) -> None:
    assert_one_line(invoke(command, "--checkpoint", tmp_path / "none"), "there is no run", "none")


@pytest.mark.parametrize(("command", "suffix"), [("sample", "png"), ("encode", "npz")])
def test_a_file_that_cannot_be_written_is_one_line(
    command: str, suffix: str, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    output = tmp_path / "file" / f"out.{suffix}"
    result = invoke(command, "--checkpoint", trained, "--output", output)
    assert_one_line(result, "cannot write", str(output), code=1)


@pytest.mark.parametrize(
    "call",
    [
        lambda run: sample(run, count=0),
        lambda run: encode(run, k=0),
        lambda run: encode(run, samples=0),
    ],
)
def test_numbers_out_of_range_are_refused_from_python_too(call: Any, trained: Path) -> None:
    with pytest.raises(ConfigError, match="must be at least 1, got 0"):
        call(trained)


@pytest.mark.long
def test_the_commands_run_as_processes_on_the_newest_run(
    trained: Path, iwae: Command, tmp_path: Path
) -> None:
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "runs").symlink_to(trained.parent)
    drawn = iwae("sample", "--count", "4", "--output", "four.png")
    assert (drawn.returncode, "newest run" in drawn.stderr) == (0, True), drawn.stderr
    assert (tmp_path / "four.png").stat().st_size > 1000
    done = iwae("encode", "--limit", "3", "--output", "three.npz")
    assert done.returncode == 0, done.stderr
    assert "[3, 1, 4]" in done.stdout
    failed = iwae("encode", "--checkpoint", "nowhere")
    assert (failed.returncode, failed.stderr.count("\n")) == (2, 1)


def test_the_experiment_of_two_latents_composes_and_can_be_overridden(iwae: Command) -> None:
    shown = iwae("train", "experiment=posterior2d", "objective=vae", "k=5", "--cfg", "job").stdout
    for part in ("name: two_latents", "latents:\n  - 2\n", "name: mnist", "name: fast"):
        assert part in shown
    assert "objective:\n  name: vae\n" in shown
    assert "\nk: 5\n" in shown
