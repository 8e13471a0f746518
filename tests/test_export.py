"""`iwae export`: one small file that evaluates as its run does, and leaves nothing behind."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import Command, settings, tiny_run

import iwae_cli
from iwae_cli.core.config import Arch
from iwae_cli.core.errors import CheckpointError, UsageError
from iwae_cli.evaluation.active_units import active_units
from iwae_cli.evaluation.evaluate import evaluate
from iwae_cli.evaluation.trained_run import TrainedRun
from iwae_cli.models.initialisation import initialise
from iwae_cli.models.iwae import IWAE
from iwae_cli.runs.checkpoint import Checkpoint
from iwae_cli.runs.export import export, exported
from iwae_cli.training.resolve import prepare
from iwae_cli.training.resume import take_over
from iwae_cli.training.run import new_trainer

LARGEST = 2_500_000


@pytest.fixture
def model(trained: Path, tmp_path: Path) -> Iterator[Path]:
    """An exported model in a folder of its own, which has to stay as it is."""
    file = tmp_path / "models" / "mine.pt"
    export(trained, output=file)
    before = file.read_bytes()
    yield file
    assert list(file.parent.iterdir()) == [file]
    assert file.read_bytes() == before


def test_an_exported_model_has_the_estimates_of_its_run_image_for_image(
    model: Path, copied: Path, tmp_path: Path
) -> None:
    rows = evaluate(copied, k=[1, 20], limit=100)
    again = evaluate(model, k=[1, 20], limit=100, output=tmp_path / "results")
    assert [row["nll"] for row in again] == [row["nll"] for row in rows]
    (folder,) = (tmp_path / "results").iterdir()
    assert folder.name == copied.name == again[0]["run"]
    with np.load(copied / "per_image.npz") as own, np.load(folder / "per_image.npz") as other:
        assert own.files == other.files
        for name in own.files:
            np.testing.assert_array_equal(own[name], other[name])


def test_without_output_results_are_printed_and_nothing_is_written(
    model: Path, copied: Path, tmp_path: Path
) -> None:
    everything = set(tmp_path.rglob("*"))
    row = evaluate(model, k=[20], limit=100)[0]
    counted = active_units(model, check=True, k=20, limit=100, samples=5)
    assert set(tmp_path.rglob("*")) == everything
    assert counted["csv"] is None
    assert row["nll"] == evaluate(copied, k=[20], limit=100)[0]["nll"] == counted["check"]["nll"]
    assert counted["active"] == active_units(copied, samples=5)["active"]


@pytest.mark.long
def test_every_command_that_evaluates_reads_an_exported_model(
    iwae: Command, tmp_path: Path
) -> None:
    assert iwae(*tiny_run()).returncode == 0
    done = iwae("export", "--json")
    assert done.returncode == 0, done.stderr
    (told,) = json.loads(done.stdout)
    (run,) = (tmp_path / "outputs" / "runs").iterdir()
    file = tmp_path / f"{run.name}.pt"
    assert told["file"] == file.name
    assert told["bytes"] == file.stat().st_size < (run / "checkpoint.pt").stat().st_size / 2
    named = ("--checkpoint", file.name)
    everything = set(tmp_path.rglob("*"))
    for command in (
        ("eval", "--k", "5", "--limit", "20"),
        ("active-units", "--samples", "2"),
        ("gradients", "--k", "2", "--draws", "3", "--images", "4"),
    ):
        done = iwae(*command, *named)
        assert done.returncode == 0, done.stderr
        assert done.stdout
    for name in ("sample", "encode"):
        done = iwae(name, *named)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert "name a file with --output" in done.stderr
    assert set(tmp_path.rglob("*")) == everything
    for command in (("sample", "--output", "s.png"), ("encode", "--output", "e.npz")):
        assert iwae(*command, *named).returncode == 0
        assert (tmp_path / command[-1]).exists()
    assert iwae_cli.load(file).network.latents == (3,)


@pytest.mark.parametrize(
    ("latents", "hidden"), [([50], [[200, 200]]), ([100, 50], [[200, 200], [100, 100]])]
)
def test_the_papers_networks_fit_in_two_and_a_half_megabytes(
    trained: Path, tmp_path: Path, latents: list[int], hidden: list[list[int]]
) -> None:
    own = Checkpoint.read(trained / "checkpoint.pt")
    arch = Arch(latents=latents, hidden=hidden)
    network = IWAE(784, arch).double()
    initialise(network, "glorot", generator=torch.Generator(), mean_image=None)
    stored = dataclasses.replace(
        own,
        config={**own.config, "arch": dataclasses.asdict(arch)},
        data=dataclasses.replace(own.data, pixels=784, image_shape=(28, 28)),
        model=network.state_dict(),
    )
    exported(stored).write(tmp_path / "model.pt")
    assert (tmp_path / "model.pt").stat().st_size < LARGEST
    again = Checkpoint.read(tmp_path / "model.pt")
    assert {tensor.dtype for tensor in again.model.values()} == {torch.float32}
    for key in ("config", "identity", "data"):
        assert getattr(again, key) == getattr(stored, key)


def test_an_exported_model_is_not_trained_on_and_not_put_among_a_runs_files(
    model: Path, copied: Path
) -> None:
    run = prepare(settings(copied.parent))
    with pytest.raises(CheckpointError, match="has no state of an optimiser"):
        take_over(new_trainer(run), Checkpoint.read(model), run)
    with pytest.raises(UsageError, match="is the folder of a run"):
        export(model, output=copied / "model.pt")


def test_a_run_that_names_an_output_keeps_its_folder_as_it_was(
    copied: Path, tmp_path: Path
) -> None:
    evaluate(copied, k=[5], limit=10, output=tmp_path / "elsewhere")
    active_units(copied, samples=2, output=tmp_path / "elsewhere")
    assert not (copied / "eval.csv").exists()
    assert not (copied / "active_units.csv").exists()
    written = tmp_path / "elsewhere" / copied.name
    assert pd.read_csv(written / "eval.csv")["run"].tolist() == [copied.name]
    assert (written / "active_units.csv").exists()
    assert TrainedRun(copied).name == copied.name
