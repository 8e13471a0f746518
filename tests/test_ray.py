"""Sweeps on a real Ray cluster of this machine, brought up by `ray start`: `pytest -m cluster`."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_runs import (
    ENDLESS,
    FATES,
    LONG,
    QUICK,
    TINY,
    assert_like_local_runs,
    attached_after_a_kill,
    experiments,
    iwae,
    record,
    start,
    sweep_of,
    trains,
    wait_until,
)
from conftest import limit

RAY_COMMAND = shutil.which("ray") or shutil.which("ray", path=str(Path(sys.executable).parent))
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(RAY_COMMAND is None, reason="the extra [ray] is not installed"),
]
PORT = 6399
RAY = ("launcher=ray", f"launcher.address=127.0.0.1:{PORT}")


@pytest.fixture(scope="module", autouse=True)
def _cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cluster that ends with the tests, and no other one."""
    words = ("start", "--head", "--block", f"--port={PORT}", "--num-cpus=2", "--num-gpus=1")
    folder = tmp_path_factory.mktemp("ray")
    with (folder / "log").open("w") as log:
        head = subprocess.Popen(
            [
                str(RAY_COMMAND),
                *words,
                "--include-dashboard=false",
                "--disable-usage-stats",
                "--object-store-memory=100000000",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "RAY_worker_niceness": "0"},  # or a busy machine starves them
        )
        wait_until(lambda: "Ray runtime started" in (folder / "log").read_text(), "Ray starts")
        yield
        head.terminate()
        head.wait(timeout=limit(60))


def test_twelve_runs_survive_what_happens_to_them_on_a_cluster(tmp_path: Path) -> None:
    asked = experiments(tmp_path)
    preempted, limited, killed = (FATES.index(name) for name in ("preempted", "limited", "killed"))

    attached = attached_after_a_kill(tmp_path, *asked, *RAY)
    signals = (preempted, signal.SIGTERM), (limited, signal.SIGUSR2), (killed, signal.SIGKILL)
    for number, sent in signals:
        wait_until(lambda n=number: trains(tmp_path, n), f"run {number} trains", attached)  # type: ignore[misc]
        os.kill(record(tmp_path, number)["pid"], sent)
    out, log = attached.communicate(timeout=limit(1800))

    assert attached.returncode == 1, log
    assert "Traceback" not in log
    assert re.search(r"0 runs submitted, \d+ were queued or running, \d+ finished", log)
    last = log.splitlines()[-1]
    assert last.startswith("iwae: 1 of 12 runs of the sweep failed: [")
    assert re.search(r"experiment=diverging\] .* is -?(nan|inf)", last)
    for number, name in ((preempted, "SIGTERM"), (limited, "SIGUSR2")):
        told = sweep_of(tmp_path).log(number).read_text()
        assert re.search(rf"stopped by {name} after step \d+, all saved.*resuming", told, re.DOTALL)
    assert "resuming" in sweep_of(tmp_path).log(killed).read_text(), "Ray tries a lost run again"
    assert out.splitlines()[-1] == "Next: iwae report"
    assert_like_local_runs(tmp_path, asked)


def test_detached_tasks_are_cancelled_and_taken_up_again_with_the_threads_they_were_granted(
    tmp_path: Path,
) -> None:
    few = tuple(word for word in TINY if not word.startswith("threads"))
    asked = ("train", "-m", *few, ENDLESS, "seed=0,1,2", *RAY, "launcher.cpus_per_run=2")
    code, out, log = iwae(tmp_path, *asked, "--detach", threads=None)
    assert (code, out) == (0, ""), log
    wait_until(lambda: trains(tmp_path, 0), "the first run trains")
    code, out, log = iwae(tmp_path, "cancel", sweep_of(tmp_path).name)
    assert code == 0, log
    assert out.startswith("3 jobs of ")
    stopped = record(tmp_path, 0)
    assert stopped["state"] == "stopped", "it saved"
    assert not record(tmp_path, 2), "it never started"
    environment = json.loads((Path(stopped["folder"]) / "environment.json").read_text())
    assert environment["threads"] == 2
    code, out, log = iwae(tmp_path, *asked, "--detach", threads=None)
    assert code == 0, log
    assert "3 runs submitted" in log
    resumes = sweep_of(tmp_path).log(0)
    wait_until(lambda: "resuming" in resumes.read_text(), "the first run goes on")
    assert iwae(tmp_path, "cancel", sweep_of(tmp_path).name)[0] == 0


def test_sigterm_leaves_tasks_that_share_a_gpu_and_the_command_attaches(
    tmp_path: Path,
) -> None:
    asked = ("train", "-m", *TINY, LONG, "seed=0,1", *RAY, "launcher.runs_per_gpu=2")
    process = start(tmp_path, *asked)
    both = "both runs train: they share the GPU that the cluster has been told of"
    wait_until(lambda: trains(tmp_path, 0) and trains(tmp_path, 1), both, process)
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=limit(300))
    assert process.returncode == 128 + signal.SIGTERM, log
    assert "the jobs go on" in log.splitlines()[-1]
    code, _, log = iwae(tmp_path, *asked)
    assert code == 0, log
    assert "0 runs submitted" in log
    assert "resuming" not in sweep_of(tmp_path).log(0).read_text(), "nothing was interrupted"


def test_a_run_waits_for_its_parent_and_fails_with_it(tmp_path: Path) -> None:
    parent = "init_from={seed:7,optimizer:{name:constant,learning_rate:0.001,passes:20}}"
    asked = ("train", "-m", *TINY, QUICK, "seed=0,1", *RAY)
    code, _, log = iwae(tmp_path, *asked, parent)
    assert code == 0, log
    times = {n: (record(tmp_path, n)["since"], record(tmp_path, n)["until"]) for n in range(3)}
    assert times[2][1] < min(times[0][0], times[1][0])
    other = tmp_path / "other"
    other.mkdir()
    code, _, log = iwae(other, *asked, parent.replace("0.001", "1e30"))
    assert code == 1
    assert log.splitlines()[-1].count("the run that it starts from failed") == 2


def test_without_a_cluster_the_launcher_says_what_to_start(tmp_path: Path) -> None:
    words = ("train", "-m", *TINY, "seed=0,1", "launcher=ray", "launcher.address=127.0.0.1:1")
    code, _, log = iwae(tmp_path, *words)
    assert code == 1
    assert log.splitlines()[-1].startswith("iwae: no Ray cluster answers at launcher.address=")
    assert "ray start --head" in log.splitlines()[-1]
