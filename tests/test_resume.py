"""Real processes of `iwae train`, killed, interrupted and started again."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import COMMAND, Command, limit, start_process, tiny_run

from iwae_cli.runs.checkpoint import Checkpoint

pytestmark = pytest.mark.long

RUN = tiny_run("optimizer.stages=4", "k=5", "checkpoint_seconds=0.05", "validate_passes=7")


def start(
    folder: Path, environment: dict[str, str], *arguments: str, new_session: bool = False
) -> subprocess.Popen[str]:
    return start_process(folder, environment, *COMMAND, *arguments, start_new_session=new_session)


def only_run(folder: Path) -> Path:
    (found,) = (folder / "outputs" / "runs").iterdir()
    return found


def wait_for_checkpoint(folder: Path) -> None:
    deadline = time.monotonic() + limit(60)
    while not list(folder.glob("outputs/runs/*/checkpoint.pt")):
        assert time.monotonic() < deadline, "no checkpoint was written in a minute"
        time.sleep(0.02)


def assert_same_run(one: Path, other: Path) -> None:
    first, second = (Checkpoint.read(run / "checkpoint.pt") for run in (one, other))
    for name, parameter in first.model.items():
        assert torch.equal(parameter, second.model[name]), name
    states = [one.training.generator for one in (first, second)]
    assert states[0] is not None
    assert states[1] is not None
    assert torch.equal(states[0], states[1])
    timing = ["seconds", "images_per_second", "check"]
    tables = [pd.read_csv(run / "metrics.csv").drop(columns=timing) for run in (one, other)]
    assert len(tables[0]) == 40
    pd.testing.assert_frame_equal(tables[0], tables[1], check_exact=True)


def test_a_run_killed_at_random_moments_ends_bit_for_bit_like_an_uninterrupted_one(
    tmp_path: Path, environment: dict[str, str], iwae: Command
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    assert iwae(*RUN, f"outputs={whole}/outputs").returncode == 0
    moments = random.Random(os.getpid())
    for _ in range(3):
        process = start(killed, environment, *RUN)
        wait_for_checkpoint(killed)
        time.sleep(moments.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    last = start(killed, environment, *RUN)
    _, log = last.communicate(timeout=limit(120))
    assert last.returncode == 0, log
    assert "Traceback" not in log
    assert_same_run(only_run(whole), only_run(killed))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_saves_says_how_to_resume_and_goes_on(
    tmp_path: Path, environment: dict[str, str], number: int, code: int
) -> None:
    process = start(tmp_path, environment, *RUN)
    wait_for_checkpoint(tmp_path)
    process.send_signal(number)
    out, log = process.communicate(timeout=limit(60))
    assert process.returncode == code, log
    assert out == ""
    folder = only_run(tmp_path).relative_to(tmp_path)
    hint = f"all saved; run the same command again to resume {folder}"
    assert log.splitlines()[-1].endswith(hint)
    assert "Traceback" not in log
    steps = Checkpoint.read(only_run(tmp_path) / "checkpoint.pt").training.steps
    assert f"after step {steps}" in log
    again = start(tmp_path, environment, *RUN)
    _, log = again.communicate(timeout=limit(120))
    assert again.returncode == 0, log
    assert log.startswith("resuming")


def test_a_run_in_use_by_another_process_is_left_alone(
    tmp_path: Path, environment: dict[str, str], iwae: Command
) -> None:
    long = (*RUN, "optimizer.stages=8")
    process = start(tmp_path, environment, *long)
    try:
        wait_for_checkpoint(tmp_path)
        second = iwae(*long)
        assert second.returncode == 1
        assert "is in use by another process" in second.stderr
        assert len(second.stderr.splitlines()) == 1
    finally:
        process.terminate()
        process.communicate()


def test_a_finished_run_is_recognised(iwae: Command, tmp_path: Path) -> None:
    assert iwae(*tiny_run()).returncode == 0
    before = (only_run(tmp_path) / "checkpoint.pt").stat().st_mtime_ns
    again = iwae(*tiny_run())
    assert again.returncode == 0
    assert "finished" in again.stdout + again.stderr
    assert (only_run(tmp_path) / "checkpoint.pt").stat().st_mtime_ns == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_parallel_sweep_and_every_run_of_it_is_saved(
    tmp_path: Path, environment: dict[str, str], number: int
) -> None:
    """Ctrl-C goes to every process of the terminal's foreground group; SIGTERM to one alone."""
    sweep = ["-m", "launcher=joblib", "launcher.n_jobs=2", "k=5,6,7,8"]
    process = start(tmp_path, environment, *RUN, *sweep, new_session=True)
    deadline = time.monotonic() + limit(90)
    while len(list(tmp_path.glob("outputs/runs/*/checkpoint.pt"))) < 2:
        assert time.monotonic() < deadline, "no two runs were saved in 90 seconds"
        time.sleep(0.05)
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    _, log = process.communicate(timeout=limit(60))
    assert process.returncode == 128 + number, log
    assert "Traceback" not in log
    assert log.count("all saved; run the same command again to resume") == 2
    assert len(list(tmp_path.glob("outputs/runs/*"))) == 2, "no further run was started"
