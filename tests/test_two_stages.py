"""Runs that start from another run, follow-ups, forecasts."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from conftest import Command, tiny_run

from iwae_cli.core import config
from iwae_cli.core.config import Config
from iwae_cli.core.errors import ConfigError
from iwae_cli.runs.checkpoint import Checkpoint
from iwae_cli.training import run as training
from iwae_cli.training.components import validate
from iwae_cli.training.dry_run import forecasts
from iwae_cli.training.resolve import prepare
from iwae_cli.training.resume import start_from

PARENT = {"objective": {"name": "vae"}, "k": 1, "optimizer": {"name": "paper", "stages": 1}}


def settings(outputs: Path, **changes: Any) -> Config:
    values = {
        "arch": {"latents": [3], "hidden": [[8]]},
        "dataset": {"name": "digits"},
        "objective": {"name": "iwae"},
        "optimizer": {"name": "constant", "passes": 1},
        "k": 4,
        "threads": 1,
        "outputs": str(outputs),
        "init_from": PARENT,
    }
    return config.parse({**values, **changes})


def test_a_child_trains_its_parent_first_and_starts_where_it_ended(tmp_path: Path) -> None:
    child = settings(tmp_path)
    parent = child.parent()
    assert parent is not None
    training.run(child)
    folders = {path.name for path in (tmp_path / "runs").iterdir()}
    assert folders == {prepare(child).folder.path.name, prepare(parent).folder.path.name}
    before = Checkpoint.read(prepare(parent).folder.checkpoint)
    trainer = training.new_trainer(prepare(child))
    start_from(trainer, prepare(parent))
    for name, parameter in trainer.model.state_dict().items():
        assert torch.equal(parameter, before.model[name])
    assert before.training.generator is not None
    assert torch.equal(trainer.generator.get_state(), before.training.generator)
    own = trainer.optimizer.state_dict()
    assert float(own["state"][0]["step"]) == before.training.steps
    assert own["param_groups"][0]["eps"] == 5e-6


def test_k_fac_goes_on_with_the_factors_and_momenta_of_the_first_stage_at_its_own_rate(
    tmp_path: Path,
) -> None:
    kfac = {"name": "kfac", "passes": 1}
    second = {**kfac, "learning_rate": 0.02, "end_rate": 1.0, "k_growth": [], "k_shares": []}
    child = settings(tmp_path, optimizer=second, init_from={**PARENT, "optimizer": kfac})
    parent = child.parent()
    assert parent is not None
    training.run(parent)
    stored = Checkpoint.read(prepare(parent).folder.checkpoint).optimizer["state"]
    trainer = training.new_trainer(prepare(child))
    start_from(trainer, prepare(parent))
    own = trainer.optimizer.state_dict()["state"]
    assert own.keys() == stored.keys()
    for number, state in stored.items():
        for name, value in state.items():
            assert torch.equal(own[number][name], value)
    assert {"momentum", "output", "input_inverse"} <= stored[0].keys()
    trainer.step()
    assert {group["lr"] for group in trainer.optimizer.param_groups} == {0.02}


def test_a_finished_parent_is_not_trained_again(tmp_path: Path) -> None:
    child = settings(tmp_path)
    parent = child.parent()
    assert parent is not None
    first = training.run(parent)
    written = (first.folder / "checkpoint.pt").stat().st_mtime_ns
    training.run(child)
    assert (first.folder / "checkpoint.pt").stat().st_mtime_ns == written


def test_the_saved_config_names_the_whole_parent_and_gives_the_same_run(tmp_path: Path) -> None:
    run = prepare(settings(tmp_path))
    saved = run.plain
    assert saved["init_from"]["objective"] == {"name": "vae"}
    assert saved["init_from"]["optimizer"]["batch_size"] == 20
    assert prepare(config.parse(saved)).identity == run.identity


def test_identity_depends_on_the_parent(tmp_path: Path) -> None:
    one, other = settings(tmp_path), settings(tmp_path, init_from={**PARENT, "k": 2})
    without = settings(tmp_path, init_from=None)
    assert len({prepare(run).identity for run in (one, other, without)}) == 3


def test_a_parent_that_cannot_run_or_that_has_another_optimiser_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown objective 'vea'"):
        validate(settings(tmp_path, init_from={"objective": {"name": "vea"}}))
    other = {"latents": [2], "hidden": [[8]]}
    with pytest.raises(ConfigError, match=r"init_from.arch.latents is \[2\], this run's is \[3\]"):
        validate(settings(tmp_path, init_from={**PARENT, "arch": other}))
    with pytest.raises(ConfigError, match="init_from.dataset is mnist"):
        validate(settings(tmp_path, init_from={**PARENT, "dataset": {"name": "mnist"}}))
    message = "constant cannot carry on .* init_from.optimizer kfac; optimizers that can: kfac"
    with pytest.raises(ConfigError, match=message):
        validate(settings(tmp_path, init_from={**PARENT, "optimizer": {"name": "kfac"}}))


def test_follow_ups_leave_complete_rows_and_are_done_once(tmp_path: Path) -> None:
    then = {"eval": [3, 6], "active_units": True}
    run = settings(tmp_path, init_from=None, then=then)
    folder = training.run(run).folder
    assert pd.read_csv(folder / "eval.csv")["k"].tolist() == [3, 6]
    written = (folder / "eval.csv").stat().st_mtime_ns, (folder / "active_units.csv").stat()
    assert training.run(run).already_finished
    again = (folder / "eval.csv").stat().st_mtime_ns, (folder / "active_units.csv").stat()
    assert again[0] == written[0]
    assert again[1].st_mtime_ns == written[1].st_mtime_ns


def test_the_check_of_active_units_is_forecast_done_once_and_kept(tmp_path: Path) -> None:
    then = {"eval": [3], "active_units": True}
    run = settings(tmp_path, init_from=None, then=then)
    folder = training.run(run).folder
    assert not (folder / "removal.csv").exists()
    checked = settings(tmp_path, init_from=None, then={**then, "check_active_units": True})
    assert prepare(checked).identity == prepare(run).identity
    (before,) = forecasts([checked])
    assert before.seconds > 0
    training.run(checked)
    row = pd.read_csv(folder / "removal.csv").iloc[0]
    assert (row["k"], row["images"], row["run"]) == (5000, 400, folder.name)
    assert row["difference"] == pytest.approx(row["nll_without_inactive"] - row["nll"])
    written = (folder / "removal.csv").stat().st_mtime_ns
    training.run(checked)
    assert (folder / "removal.csv").stat().st_mtime_ns == written
    assert forecasts([checked])[0].seconds == 0


def test_a_forecast_names_each_run_once_with_its_state_and_costs(tmp_path: Path) -> None:
    child = settings(tmp_path, then={"eval": [5]})
    parent = child.parent()
    assert parent is not None
    before = forecasts([child, parent])
    assert [one.state for one in before] == ["new", "new"]
    assert [one.passes for one in before] == [1, 1]
    assert all(0 < one.seconds < 600 and one.bytes > 1000 for one in before)
    assert not (tmp_path / "runs").exists(), "a forecast writes nothing"
    training.run(child)
    after = forecasts([child, parent])
    assert [one.state for one in after] == ["finished", "finished"]
    assert [one.seconds for one in after] == [0, 0]


def test_dry_run_lists_a_sweep_and_starts_nothing(iwae: Command, tmp_path: Path) -> None:
    done = iwae(*tiny_run("objective=vae,iwae"), "-m", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("new") == 2
    assert "2 runs, 0 finished" in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "runs"), [("table1", 24), ("table2", 4), ("table3", 12)])
def test_the_experiments_hold_the_papers_grids(name: str, runs: int) -> None:
    from iwae_cli.cli.launch import plan

    planned = plan([f"experiment={name}"], multirun=False)
    assert planned.sweep
    parents = {repr(parent) for point in planned.points if (parent := point.config.parent())}
    assert len(planned.points) + len(parents) == runs
    assert all(point.config.then.eval == [5000] for point in planned.points)
