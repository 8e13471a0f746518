"""Signals by which users, terminals and clusters end long work; real processes."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import COMMAND, limit, start_process, tiny_run

from iwae_cli.core.errors import Stopped
from iwae_cli.core.signals import STOPPING, StopSignals
from iwae_cli.runs.checkpoint import Checkpoint

pytestmark = pytest.mark.long

LONG = tiny_run("optimizer.stages=8", "checkpoint_seconds=3600", "validate_passes=0")


def start(
    folder: Path, environment: dict[str, str], *before: str, stderr: int = subprocess.PIPE
) -> subprocess.Popen[str]:
    words = (*before, *COMMAND, *LONG)
    return start_process(folder, environment, *words, stderr=stderr, start_new_session=True)


def wait_for_a_pass(folder: Path) -> Path:
    """Return the run's folder once it has finished a pass; nothing is saved by then."""
    deadline = time.monotonic() + limit(120)
    while time.monotonic() < deadline:
        for metrics in folder.glob("outputs/runs/*/metrics.csv"):
            if metrics.read_text().count("\n") >= 2:
                return metrics.parent
        time.sleep(0.02)
    raise AssertionError("no pass was finished in two minutes")


def saved_steps(run: Path) -> int:
    return Checkpoint.read(run / "checkpoint.pt").training.steps


@pytest.fixture(autouse=True)
def hang_up_is_heard() -> Iterator[None]:
    """Tests under nohup would hand its deafness to hang-ups down to their processes."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [one for one in STOPPING if one != signal.SIGINT])
def test_each_signal_saves_and_ends_a_run(
    tmp_path: Path, environment: dict[str, str], number: signal.Signals
) -> None:
    process = start(tmp_path, environment)
    run = wait_for_a_pass(tmp_path)
    process.send_signal(number)
    _, log = process.communicate(timeout=limit(60))
    assert process.returncode == 128 + number, log
    assert f"stopped by {number.name} after step {saved_steps(run)}, all saved" in log
    assert "Traceback" not in log


def test_a_limit_of_processor_time_saves_and_ends_a_run(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    process = start(tmp_path, environment)
    run = wait_for_a_pass(tmp_path)
    resource.prlimit(process.pid, resource.RLIMIT_CPU, (1, resource.RLIM_INFINITY))
    # the signal comes again every second, until the process has ended
    _, log = process.communicate(timeout=limit(60))
    assert process.returncode == 128 + signal.SIGXCPU, log
    assert saved_steps(run) > 0


def test_a_run_under_nohup_goes_on_after_the_terminal_is_closed(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    process = start(tmp_path, environment, "nohup")
    run = wait_for_a_pass(tmp_path)
    process.send_signal(signal.SIGHUP)
    done = (run / "metrics.csv").read_text().count("\n")
    deadline = time.monotonic() + limit(60)
    while (run / "metrics.csv").read_text().count("\n") <= done + 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.terminate()
    process.communicate(timeout=limit(60))
    assert process.returncode == 128 + signal.SIGTERM


def test_a_closed_terminal_saves_the_run_whose_bar_it_showed(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """The bar's writes fail once the terminal is gone, before or after SIGHUP arrives."""
    terminal, inside = os.openpty()
    process = start(tmp_path, environment, stderr=inside)
    os.close(inside)
    run = wait_for_a_pass(tmp_path)
    os.close(terminal)  # no controlling terminal of the process: the signal is sent by hand, late
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=limit(60))
    assert saved_steps(run) > 0
    assert "stopped by SIGHUP" in (run / "train.log").read_text().splitlines()[-1]


def left_at_once() -> None:
    with StopSignals(interrupt=True):
        os.kill(os.getpid(), signal.SIGUSR1)
        pytest.fail("the block went on")


def left_after_an_inner_block(ended: list[bool]) -> None:
    with StopSignals(interrupt=True):
        with StopSignals() as inner:
            os.kill(os.getpid(), signal.SIGUSR2)
            assert inner.received == signal.SIGUSR2
            ended.append(True)
        pytest.fail("the block went on")


def test_an_interrupting_block_is_left_at_once_and_after_an_inner_one_has_ended() -> None:
    with pytest.raises(Stopped, match="stopped by SIGUSR1") as stopped:
        left_at_once()
    assert stopped.value.exit_code == 128 + signal.SIGUSR1
    ended: list[bool] = []
    with pytest.raises(Stopped, match="stopped by SIGUSR2"):
        left_after_an_inner_block(ended)
    assert ended == [True]
    assert signal.getsignal(signal.SIGUSR2) == signal.SIG_DFL


def test_platforms_without_a_signal_do_without_it() -> None:
    code = (
        "import signal\n"
        "for name in ('SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGXCPU'): delattr(signal, name)\n"
        "from iwae_cli.core.signals import STOPPING, StopSignals\n"
        "with StopSignals(): pass\n"
        "print(*[one.name for one in STOPPING])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["SIGINT", "SIGTERM"]
