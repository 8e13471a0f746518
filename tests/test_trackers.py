"""Trackers: real libraries write to disk and are read back (`pytest -m cluster`)."""

import json
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from conftest import ROOT, Command, limit, tiny_run

from iwae_cli.cli.launch import plan
from iwae_cli.cli.main import main
from iwae_cli.core import trackers
from iwae_cli.core.errors import TrackerError
from iwae_cli.core.trackers import TrackedRun
from iwae_cli.training.resolve import prepare
from iwae_cli.training.tracking import square

RUN = tiny_run("optimizer.stages=4", "then.eval=[7]", "then.active_units=true")
RUN = (*RUN, "checkpoint_seconds=0.05", "validate_passes=10")
PASSES = 40


def interrupted_and_resumed(
    iwae: Command, folder: Path, environment: dict[str, str], log: str
) -> pd.DataFrame:
    """Train a run that is stopped on its way and goes on; return its metrics."""
    words = [sys.executable, "-m", "iwae_cli", *RUN, log]
    process = subprocess.Popen(
        words,
        cwd=folder,
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + limit(120)
    while not [
        p for p in folder.glob("outputs/runs/*/metrics.csv") if p.read_text().count("\n") > 5
    ]:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=limit(120))
    assert process.returncode == 128 + signal.SIGTERM, said
    for _ in range(2):  # the second time there is nothing left to do
        done = iwae(*RUN, log)
        assert done.returncode == 0, done.stderr
    (metrics,) = folder.glob("outputs/runs/*/metrics.csv")
    return pd.read_csv(metrics)


def results(folder: Path) -> float:
    (path,) = folder.glob("outputs/runs/*/eval.csv")
    return float(pd.read_csv(path)["nll"].item())


@pytest.mark.cluster
def test_tensorboard_has_each_pass_of_a_resumed_run_once(
    iwae: Command, tmp_path: Path, environment: dict[str, str]
) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    metrics = interrupted_and_resumed(iwae, tmp_path, environment, "log=tensorboard")
    (folder,) = (tmp_path / "outputs" / "tensorboard").iterdir()
    assert folder.name == next((tmp_path / "outputs" / "runs").iterdir()).name
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    points = events.Scalars("training/train_bound")
    assert [point.step for point in points] == list(range(1, PASSES + 1))
    assert np.allclose([point.value for point in points], metrics["train_bound"], rtol=1e-6)
    assert [p.step for p in events.Scalars("training/valid_bound")] == [10, 20, 30, 40]
    (nll,) = events.Scalars("results/test_nll_k7")
    assert nll.value == pytest.approx(results(tmp_path), rel=1e-6)
    assert {"samples", "originals", "reconstructions"} <= set(events.Tags()["images"])


@pytest.mark.cluster
def test_mlflow_has_one_run_with_each_pass_once(
    iwae: Command, tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    metrics = interrupted_and_resumed(iwae, tmp_path, environment, "log=mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = mlflow.MlflowClient(tracking_uri=(tmp_path / "outputs" / "mlruns").as_uri())
    owner = client.get_experiment_by_name("iwae").experiment_id
    (run,) = client.search_runs([owner])
    assert run.info.status == "FINISHED"
    assert run.data.params["objective.name"] == "iwae"
    points = sorted(client.get_metric_history(run.info.run_id, "train_bound"), key=lambda p: p.step)
    assert [point.step for point in points] == list(range(1, PASSES + 1))
    assert [point.value for point in points] == metrics["train_bound"].tolist()
    assert run.data.metrics["test_nll_k7"] == results(tmp_path)
    (units,) = tmp_path.glob("outputs/runs/*/active_units.csv")
    assert run.data.metrics["active_units_layer1"] == pd.read_csv(units)["active"].sum()
    artifacts = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert {"samples.png", "originals.png", "reconstructions.png"} <= artifacts


@pytest.mark.cluster
def test_a_tracking_server_that_is_away_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    options = trackers.check({"mlflow": {"uri": "http://127.0.0.1:9"}})["mlflow"]
    tracked = options.open(TrackedRun(tmp_path, {}), passes=0)
    with (
        pytest.raises(TrackerError, match=r"^log=mlflow at http.* goes on"),
        tracked,
    ):
        pytest.fail("nobody listens there")


def test_trackers_are_no_part_of_a_runs_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: object())
    without = prepare(plan(["dataset=digits"], multirun=False).points[0].config)
    tracked = plan(["dataset=digits", "log=[tensorboard,mlflow]"], multirun=False).points[0].config
    assert set(tracked.log) == {"tensorboard", "mlflow"}
    assert prepare(tracked).identity == without.identity


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "log=tensorboard",
            "log=tensorboard is not installed: pip install 'iwae-cli[tensorboard]'",
        ),
        ("log=tensorbord", "did you mean 'tensorboard'"),
    ],
)
def test_a_tracker_that_is_not_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, override: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    done = CliRunner().invoke(main, ["train", "dataset=digits", override], prog_name="iwae")
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_pictures_are_laid_out_in_rows() -> None:
    images = np.arange(5, dtype=np.float32)[:, None, None] * np.ones((1, 2, 3), np.float32)
    picture = square(images)
    assert picture.shape == (2 * 2, 3 * 3)
    assert picture[::2, ::3].tolist() == [[0, 1, 2], [3, 4, 0]]
    assert picture[0].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_the_tracker_of_the_documentation_works_and_goes_on_after_a_stop(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "extending.md").read_text()
    start, end = (
        page.index("    @dataclass(frozen=True)\n    class JsonLines"),
        page.index("\n\nand in"),
    )
    names: dict[str, Any] = {}
    imports = (
        "import json\nfrom collections.abc import Iterator, Mapping\n"
        "from contextlib import contextmanager\nfrom dataclasses import dataclass\n"
        "from pathlib import Path\nfrom typing import ClassVar, TextIO\nimport numpy as np\n"
        "from numpy.typing import NDArray\n"
        "from iwae_cli.core.trackers.base import Options, TrackedRun\n"
    )
    exec(imports + textwrap.dedent(page[start:end]), names)
    options, run = names["JsonLines"](folder=str(tmp_path)), TrackedRun(tmp_path / "run", {})
    with options.open(run, passes=0) as tracker:
        for number in (1, 2, 3):
            tracker.on_pass(number, {"bound": -float(number)})
    with options.open(run, passes=2) as tracker:
        tracker.on_pass(3, {"bound": -3.5})
        tracker.results(3, {"nll": 90.0})
    lines = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    assert [line.get("pass") for line in lines] == [1, 2, 3, None]
    assert lines[2]["bound"] == -3.5
