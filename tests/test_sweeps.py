"""Sweeps on one machine: folders, parents first, killed workers; composition once a run."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import hydra
import pandas as pd
import pytest
from conftest import Command, limit, tiny_run
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from iwae_cli.cli import compose, conf_files
from iwae_cli.cli.launch import plan
from iwae_cli.cli.launchers.joblib import Joblib
from iwae_cli.cli.launchers.jobs import generations, jobs_of
from iwae_cli.core.errors import IwaeError
from iwae_cli.core.signals import StopSignals
from iwae_cli.runs.sweep_folder import SweepFolder, sweep_name

pytestmark = pytest.mark.long

TWO_STAGES = ("experiment=table2", "dataset=digits", "optimizer=constant", "optimizer.passes=1")


def sweep_of(folder: Path) -> SweepFolder:
    (found,) = folder.glob("outputs/sweeps/*")
    return SweepFolder(found)


def test_hydra_composes_each_choice_once_however_many_points_share_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    composed = []
    compose = hydra.compose

    def counting(name: str, overrides: list[str], **options: bool) -> object:
        composed.append(overrides)
        return compose(name, overrides, **options)

    monkeypatch.setattr(hydra, "compose", counting)
    words = ["dataset=digits", "k=1,2,3", "seed=range(0,4)", "arch=one_layer,two_layer"]
    planned = plan(words, multirun=True)
    assert len(planned.points) == 24
    assert [point.config.seed for point in planned.points[:4]] == [0, 0, 1, 1]
    assert len(composed) == 2 + 1, "and once to see what the sweep is"


SWEEPS = (
    ["optimizer.passes=3", "optimizer=fast,constant", "arch.latents=[2]", "arch.latents=[3],[4]"],
    ["then.active_units=true", "then={eval:[5],active_units:false}", "then.eval=[1],[2,3]"],
    ["launcher=slurm", "launcher.cpus_per_run=2,3", "log=[tensorboard,mlflow]"],
    ["experiment=table2,table1", "second_stage=paper"],
    ["init_from={seed:1},{seed:2}", "+init_from.k=3", "init_from.seed=4"],
    ["++then.eval=[3]", "then.eval=[4],[5]"],
    ["kk=1,2"],
    ["arch={latents:[1]},{latents:[2]}", "arch=two_layer", "hydra.mode=MULTIRUN"],
)


@pytest.mark.parametrize("words", SWEEPS, ids=" ".join)
def test_a_point_is_what_hydra_alone_composes_of_its_overrides(words: list[str]) -> None:
    given = OverridesParser.create().parse_overrides(words)
    points = list(product(*(compose.words_of(override) for override in given)))
    with hydra.initialize_config_dir(str(conf_files.conf_folder()), version_base="1.3"):
        composer = compose.composer()
        for point in points:
            theirs = came_of(lambda point=point: hydra.compose("config", list(point)))  # type: ignore[misc]
            for _ in range(2):  # the second time from what is kept
                assert came_of(lambda point=point: composer.composed(point)) == theirs  # type: ignore[misc]


def came_of(composed: Callable[[], DictConfig]) -> object:
    """Return a configuration as plain types, or the error in its place."""
    try:
        return OmegaConf.to_container(composed(), resolve=False)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        return type(error).__name__, str(error)


def test_parents_are_jobs_that_come_first_once_each_however_many_runs_start_from_them() -> None:
    points = plan(
        [*TWO_STAGES, "seed=0,1", "optimizer.learning_rate=0.1,0.2"], multirun=True
    ).points
    jobs = jobs_of(points)
    assert len(points) == 8
    assert [job.asked for job in jobs] == [True] * 8 + [False] * 4
    assert all(len(job.needs) == 1 for job in jobs[:8])
    first, second = generations(jobs)
    assert [job.number for job in first] == [8, 9, 10, 11]
    assert sorted(job.needs[0] for job in second) == [8, 8, 9, 9, 10, 10, 11, 11]
    again = plan([*TWO_STAGES, "seed=0,0"], multirun=True).points
    jobs = jobs_of(again)
    assert [job.needs for job in jobs] == [(4,), (0, 4), (5,), (2, 5), (), ()]


def test_the_same_runs_are_the_same_sweep_wherever_they_are_carried_out() -> None:
    def named(*overrides: str) -> str:
        points = plan(["dataset=digits", "k=1,2", *overrides], multirun=True).points
        return sweep_name(jobs_of(points))

    assert named() == named("launcher=joblib") == named("launcher=joblib", "launcher.n_jobs=2")
    assert named() != named("seed=1")
    assert named().startswith("digits-2runs-")


@pytest.mark.parametrize("launcher", ["local", "joblib"])
def test_a_sweep_leaves_records_and_logs_and_shows_what_was_computed(
    iwae: Command, environment: dict[str, str], tmp_path: Path, launcher: str
) -> None:
    environment["COLUMNS"] = "200"  # a table, however long the folder's path is
    asked = tiny_run("-m", "k=2,3", "then.eval=[7]", "then.active_units=true")
    done = iwae(*asked, f"launcher={launcher}")
    assert done.returncode == 0, done.stderr
    assert "run 2 of 2" in done.stderr
    heading = next(line for line in done.stdout.splitlines() if "NLL" in line)
    assert heading.split()[-5:] == ["NLL", "by", "k", "active", "units"]
    assert done.stdout.splitlines()[-1] == "Next: iwae report"
    sweep = sweep_of(tmp_path)
    for job in sweep.jobs():
        record = sweep.record(job.number)
        assert record is not None
        assert record["state"] == "finished"
        assert record["folder"] == str(tmp_path / record["result"]["folder"])
        assert f"training {record['result']['folder']}" in sweep.log(job.number).read_text()
    rows = json.loads(iwae(*asked, "--json").stdout)
    assert [row["already_finished"] for row in rows] == [True, True]
    folders = [Path(tmp_path, row["folder"]) for row in rows]
    assert [row["nll"] for row in rows] == [
        pd.read_csv(folder / "eval.csv")["nll"].item() for folder in folders
    ]


@pytest.mark.parametrize("launcher", ["local", "joblib"])
def test_runs_whose_parent_fails_fail_in_one_line_each(
    iwae: Command, tmp_path: Path, launcher: str
) -> None:
    parent = "init_from={seed:7,optimizer:{name:constant,learning_rate:1e30,passes:1}}"
    small = ("dataset=digits", "arch.latents=[3]", "arch.hidden=[[8]]", "k=2")
    recipe = ("optimizer=constant", "optimizer.passes=1", "optimizer.learning_rate=0.001")
    done = iwae("train", "-m", *small, *recipe, f"launcher={launcher}", "seed=0,1", parent)
    assert done.returncode == 1, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("iwae: 3 of 3 runs of the sweep failed: [")
    assert last.count("the run that it starts from failed") == 2
    assert "Traceback" not in done.stderr


def test_a_killed_worker_loses_one_run_and_the_others_finish(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """The run whose worker is killed goes on alone, from its last checkpoint."""
    words = tiny_run("-m", "optimizer.stages=4", "k=2,3,4", "launcher=joblib", "launcher.n_jobs=2")
    process = subprocess.Popen(
        [sys.executable, "-m", "iwae_cli", *words, "checkpoint_seconds=0.1"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline, found = time.monotonic() + limit(600), list[Path]()
    while not found:
        assert time.monotonic() < deadline
        assert process.poll() is None
        found = list(tmp_path.glob("outputs/runs/*-k3-*/checkpoint.pt"))
        time.sleep(0.02)
    record = sweep_of(tmp_path).record(1)
    assert record is not None
    os.kill(record["pid"], signal.SIGKILL)
    out, log = process.communicate(timeout=limit(600))
    assert process.returncode == 0, log
    assert "a worker process was killed" in log
    assert len(list(tmp_path.glob("outputs/runs/*"))) == 3
    assert out.splitlines()[-1] == "Next: iwae report"


def test_workers_that_die_before_any_run_begins_end_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = jobs_of(plan(["dataset=digits", "k=1,2"], multirun=True).points)
    sweep = SweepFolder(tmp_path / "sweep")
    sweep.write(jobs, {"name": "joblib"})
    monkeypatch.setattr(Joblib, "_side_by_side", lambda *_: None)
    with pytest.raises(IwaeError, match="launcher=local shows why"):
        Joblib("joblib").run(sweep, jobs, StopSignals())
