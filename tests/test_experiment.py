"""From a config to results on the embedded digits, through the functions the commands call."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import changed_checkpoint, settings
from omegaconf import OmegaConf

import iwae_cli
from iwae_cli.core import config
from iwae_cli.core.device import precision_of
from iwae_cli.core.errors import CheckpointError, ConfigError, DataError, NonFiniteError
from iwae_cli.evaluation.active_units import active_units
from iwae_cli.evaluation.evaluate import evaluate
from iwae_cli.runs import log
from iwae_cli.runs.checkpoint import Checkpoint
from iwae_cli.training import run as training
from iwae_cli.training.components import validate
from iwae_cli.training.first_words import say_of_former_default
from iwae_cli.training.resolve import prepare
from iwae_cli.training.resume import checkpoint_of


def test_a_run_that_began_under_an_older_name_goes_on_in_its_folder(tmp_path: Path) -> None:
    """Versions before 0.3 named a folder by `arch.name`."""
    named = settings(tmp_path, arch={"name": "two_layer", "latents": [4, 3], "hidden": [[8], [6]]})
    run = prepare(named)
    assert run.folder.path.name == f"digits-4_3-iwae-k3-seed0-{run.identity[:8]}"
    older = run.folder.path.parent / f"digits-two_layer-iwae-k3-seed0-{run.identity[:8]}"
    older.mkdir(parents=True)
    assert prepare(named).folder.path == older
    assert not run.folder.path.exists()


def test_a_run_leaves_its_files_in_a_folder_named_by_what_it_is(trained: Path) -> None:
    assert trained.name.startswith("digits-4_3-iwae-k3-seed0-")
    assert trained.parent.name == "runs"
    names = {"checkpoint.pt", "config.yaml", "environment.json", "metrics.csv", "train.log"}
    assert names <= {path.name for path in trained.iterdir()}
    assert json.loads((trained / "environment.json").read_text())["torch"] == torch.__version__
    assert OmegaConf.load(trained / "config.yaml").optimizer.eps == 5e-6
    stored = Checkpoint.read(trained / "checkpoint.pt")
    assert stored.config == OmegaConf.to_container(OmegaConf.load(trained / "config.yaml"))
    assert stored.identity.startswith(trained.name[-8:])


def test_the_saved_config_gives_the_same_run_again(trained: Path) -> None:
    values = OmegaConf.to_container(OmegaConf.load(trained / "config.yaml"))
    assert isinstance(values, dict)
    result = training.run(config.parse(values))  # type: ignore[arg-type]
    assert result.folder == trained
    assert result.already_finished


def test_identity_changes_with_what_is_computed_and_not_with_where() -> None:
    base = settings(Path("a"))
    run = prepare(base)

    def identity(**changes: Any) -> str:
        return prepare(dataclasses.replace(base, **changes)).identity

    same: list[dict[str, Any]] = [
        {"outputs": "b"},
        {"device": "cpu"},
        {"threads": 2},
        {"checkpoint_seconds": 1.0},
        {"then": config.Then(eval=[5])},
    ]
    for change in same:
        assert identity(**change) == run.identity
    other: list[dict[str, Any]] = [
        {"k": 4},
        {"seed": 1},
        {"objective": {"name": "vae"}},
        {"optimizer": {"name": "paper", "stages": 2}},
        {"arch": dataclasses.replace(base.arch, latents=[4, 2])},
        {"init_from": {"k": 4}},
        {"init_from": {"k": 5}},
    ]
    resolved = precision_of("auto", torch.device("cpu"))
    assert identity(precision=resolved, device="cpu") == identity(device="cpu")
    assert identity(precision="float32") != identity(precision="bfloat16")
    found = {identity(**change) for change in other}
    assert len(found | {run.identity}) == len(other) + 1
    smaller = dataclasses.replace(run.dataset, train=run.dataset.train[:-1])
    assert dataclasses.replace(run, dataset=smaller).identity != run.identity


def test_the_default_says_how_to_go_on_with_an_unfinished_run_of_the_former_default(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    former = prepare(settings(tmp_path, optimizer={"name": "paper"}))
    former.folder.path.mkdir(parents=True)
    checkpoint_of(training.new_trainer(former), former).write(former.folder.checkpoint)
    changed = {"name": "kfac", "passes": 1}
    for optimizer, said in (({"name": "kfac"}, True), (changed, False)):
        run = prepare(settings(tmp_path, optimizer=optimizer))
        caplog.clear()
        with caplog.at_level("INFO", logger="iwae"):
            say_of_former_default(run)
        assert (f"{former.folder.path} of the former default" in caplog.text) == said
        assert ("goes on with optimizer=paper" in caplog.text) == said


@pytest.mark.parametrize(
    ("seconds", "optimizer", "said"),
    [
        (599, "paper", ""),
        (
            7200,
            "paper",
            "about 2:00:00 on this machine; optimizer=kfac, the default, takes minutes",
        ),
        (660, "kfac", "this run will take about 11:00 on this machine\n"),
    ],
)
def test_a_run_of_more_than_ten_minutes_says_so_with_the_faster_choice(
    caplog: pytest.LogCaptureFixture, seconds: float, optimizer: str, said: str
) -> None:
    with caplog.at_level("INFO", logger="iwae"):
        log.say_if_long(seconds, optimizer)
    assert said in caplog.text
    assert bool(caplog.text) == bool(said)


def test_training_that_diverges_stops_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    optimizer = {"name": "paper", "stages": 3, "learning_rate": 1e4}
    with pytest.raises(NonFiniteError, match="step") as caught:
        training.run(settings(tmp_path, optimizer=optimizer, checkpoint_seconds=0.0))
    assert "a lower optimizer.learning_rate may help" in str(caught.value)
    (folder,) = (tmp_path / "runs").iterdir()
    if (folder / "checkpoint.pt").exists():
        model = iwae_cli.load(folder)
        assert all(bool(p.isfinite().all()) for p in model.network.parameters())
    assert "the bound is" in (folder / "train.log").read_text()


def test_a_checkpoint_of_another_run_or_architecture_is_refused(copied: Path) -> None:
    with changed_checkpoint(copied) as content:
        content["identity"] = "0" * 64
    with pytest.raises(CheckpointError, match="belongs to another run"):
        training.run(settings(put_into_runs(copied)))
    with changed_checkpoint(copied) as content:
        content["config"]["arch"] = {"latents": [5], "hidden": [[8]]}
    with pytest.raises(CheckpointError, match="another architecture"):
        iwae_cli.load(copied)


def put_into_runs(folder: Path) -> Path:
    """Put a run folder where a run with `outputs` as returned looks for it."""
    outputs = folder.parent / "outputs"
    (outputs / "runs").mkdir(parents=True)
    (outputs / "runs" / folder.name).symlink_to(folder)
    return outputs


def test_other_data_than_the_model_was_trained_on_is_refused(copied: Path) -> None:
    with changed_checkpoint(copied) as content:
        content["config"]["dataset"]["test"] = 300
    with pytest.raises(DataError, match="was trained on other data"):
        evaluate(copied)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": [0]}, "k must be at least 1"),
        ({"split": "tset"}, "did you mean 'test'?"),
        ({"limit": 0}, "limit must be at least 1"),
        ({"device": "tpu"}, "device=tpu: there is none"),
    ],
)
def test_bad_options_of_an_evaluation_are_named(
    trained: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        evaluate(trained, **options)
    assert message in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_cuda_where_there_is_none_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="device=cuda: there is none on this machine"):
        validate(settings(tmp_path, device="cuda"))
    assert not list(tmp_path.iterdir())


def test_faults_of_all_components_come_together(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(
            settings(tmp_path, objective={"name": "iwea"}, optimizer={"name": "fast", "passes": 0})
        )
    assert "did you mean 'iwae'?" in str(caught.value)
    assert "passes must be at least 1" in str(caught.value)


@pytest.mark.slow
def test_iwae_beats_vae_on_digits_with_more_active_units(tmp_path: Path) -> None:
    """The paper's pattern; the difference is paired over the same 400 images and noise."""
    log_p, active = [], []
    for name, k in (("iwae", 50), ("vae", 1)):
        run = settings(
            tmp_path,
            arch={},
            objective={"name": name},
            k=k,
            optimizer={"name": "paper", "stages": 6},
            threads=None,
        )
        folder = training.run(run).folder
        evaluate(folder)
        with np.load(folder / "per_image.npz") as per_image:
            log_p.append(per_image["test_k5000_n400_seed0"])
        active.append(active_units(folder)["layers"][0])
    difference = log_p[0] - log_p[1]
    assert difference.mean() > 3 * difference.std(ddof=1) / np.sqrt(len(difference))
    assert active[0] > active[1]
