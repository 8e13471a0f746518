"""Sweeps on a real SLURM, whose node has a temporary folder of its own: `pytest -m cluster`."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
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
    job_id,
    record,
    shell,
    start,
    sweep_of,
    trains,
    wait_until,
)
from conftest import ROOT, limit

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif("IWAE_SLURM_UP" not in os.environ, reason="IWAE_SLURM_UP names no script"),
]
SLURM = ("launcher=slurm", "launcher.mem_gb=1", "launcher.timeout_min=30")


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> None:
    from slurm_cluster import bring_up

    bring_up()


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that the node sees too; it does not see /tmp."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="iwae-test-"))
    yield folder
    subprocess.run(["scancel", "--user", str(os.getuid())], check=False)
    wait_until(lambda: not shell("squeue", "-h"), "the queue is empty")
    shutil.rmtree(folder)


def wake_once_signalled(pid: int, number: signal.Signals) -> None:
    """Let a stopped process go on once a signal waits for it, unless SLURM has woken it itself."""
    with suppress(FileNotFoundError, ProcessLookupError):
        status = Path(f"/proc/{pid}/status").read_text()
        pending = [int(line.split()[1], 16) for line in status.splitlines() if "Pnd:" in line]
        if any(mask >> (number - 1) & 1 for mask in pending):
            os.kill(pid, signal.SIGCONT)


def test_twelve_runs_survive_what_happens_to_them_on_a_cluster(shared: Path) -> None:
    asked = experiments(shared)
    preempted, limited, killed = (FATES.index(name) for name in ("preempted", "limited", "killed"))

    attached = attached_after_a_kill(shared, *asked, *SLURM)
    wait_until(lambda: trains(shared, preempted), "the first long run trains", attached)
    shell("scontrol", "requeue", job_id(shared, preempted))
    wait_until(lambda: trains(shared, limited), "the second one trains", attached)
    pid = record(shared, limited)["pid"]
    os.kill(pid, signal.SIGSTOP)  # a short run, which is to be there when its time is up
    wait_until(lambda: trains(shared, killed), "the third one trains", attached)
    os.kill(record(shared, killed)["pid"], signal.SIGKILL)
    job = job_id(shared, limited)
    begun = datetime.fromisoformat(shell("squeue", "-h", "-j", job, "-o", "%S").strip())
    minutes = (datetime.now() - begun) // timedelta(minutes=1) + 2  # the warning comes 90 s before
    shell("scontrol", "update", f"JobId={job}", f"TimeLimit={minutes}")

    def saved() -> bool:
        wake_once_signalled(pid, signal.SIGUSR2)
        return bool(record(shared, limited)["state"] == "preempted")

    wait_until(saved, "SLURM has warned of the limit, and the run has saved", attached)
    lift = ("scontrol", "update", f"JobId={job}", "TimeLimit=30")
    wait_until(lambda: subprocess.run(lift).returncode == 0, "the limit is lifted", attached)
    out, log = attached.communicate(timeout=limit(1800))

    assert attached.returncode == 1, log
    assert "Traceback" not in log
    assert re.search(r"0 runs submitted, \d+ were queued or running, \d+ finished", log)
    for number, name in ((preempted, "SIGTERM"), (limited, "SIGUSR2")):
        told = sweep_of(shared).log(number).read_text()
        assert re.search(rf"stopped by {name} after step \d+, all saved.*resuming", told, re.DOTALL)
    last = log.splitlines()[-1]
    assert last.startswith("iwae: 2 of 12 runs of the sweep failed: [")
    assert re.search(
        r"experiment=killed\] lost: job \d+_10 is (FAILED|OUT_OF_ME.*); log /", last
    ), last
    assert re.search(r"experiment=diverging\] .* is -?(nan|inf)", last)
    assert out.splitlines()[-1] == "Next: iwae report"
    assert record(shared, preempted)["state"] == record(shared, limited)["state"] == "finished"

    code, out, log = iwae(shared, *asked, *SLURM, "--json")
    assert code == 1
    assert "2 runs submitted, 0 were queued or running, 10 finished" in log
    assert len(json.loads(out)) == 11
    assert log.splitlines()[-1].startswith("iwae: 1 of 12 runs of the sweep failed: [")

    assert_like_local_runs(shared, asked)


def test_detached_jobs_are_listed_cancelled_and_taken_up_again(shared: Path) -> None:
    asked = ("train", "-m", *TINY, ENDLESS, "seed=0,1,2,3", *SLURM, "launcher.array_parallelism=2")
    code, out, log = iwae(shared, *asked, "--detach")
    assert (code, out) == (0, ""), log
    sweep = sweep_of(shared)
    assert f"iwae cancel {sweep.name}" in log
    wait_until(lambda: trains(shared, 0), "the first run trains")
    rows = json.loads(iwae(shared, "runs", "--json")[1])
    jobs = [row for row in rows if row.get("sweep") == sweep.name]
    assert [row["state"] for row in jobs if row["job_id"] == job_id(shared, 0)] == ["running"]
    assert [row["state"] for row in jobs].count("queued") == 2, "two at once"
    code, out, log = iwae(shared, "cancel", sweep.name)
    assert code == 0, log
    assert out.startswith("4 jobs of ")
    wait_until(lambda: not shell("squeue", "-h"), "the jobs are gone")
    stopped = record(shared, 0)
    assert stopped["state"] == "stopped", "it saved"
    assert (Path(stopped["folder"]) / "checkpoint.pt").exists()
    assert "jobs that have not finished" in iwae(shared, "runs")[1]
    code, out, log = iwae(shared, *asked, "--detach")
    assert code == 0, log
    assert "4 runs submitted" in log
    wait_until(lambda: "resuming" in sweep.log(0).read_text(), "the first run goes on")


@pytest.mark.parametrize(("number", "stay"), [(signal.SIGINT, False), (signal.SIGTERM, True)])
def test_ctrl_c_cancels_where_nobody_can_be_asked_and_sigterm_leaves_the_jobs(
    shared: Path, number: signal.Signals, stay: bool
) -> None:
    process = start(shared, "train", "-m", *TINY, LONG, "seed=0,1,2", *SLURM)
    wait_until(lambda: trains(shared, 0), "the first run trains", process)
    process.send_signal(number)
    out, log = process.communicate(timeout=limit(300))
    assert (process.returncode, out) == (128 + number, "")
    assert ("the jobs go on" if stay else "the jobs were cancelled") in log.splitlines()[-1]
    if not stay:
        wait_until(lambda: not shell("squeue", "-h"), "the jobs are gone")
        assert record(shared, 0)["state"] == "stopped"
    else:
        assert len(shell("squeue", "-h", "-r").splitlines()) >= 1


def test_a_run_waits_for_its_parent_and_fails_with_it(shared: Path) -> None:
    rates = "seed=0,1"
    good = "init_from={seed:7,optimizer:{name:constant,learning_rate:0.001,passes:60}}"
    process = start(shared, "train", "-m", *TINY, QUICK, rates, good, *SLURM)
    wait_until(lambda: trains(shared, 2), "the parent trains", process)
    waiting = shell("squeue", "-h", "-r", "-t", "PENDING", "-o", "%r")
    assert waiting.split() == ["Dependency"] * 2
    _, log = process.communicate(timeout=limit(300))
    assert process.returncode == 0, log
    times = {n: (record(shared, n)["since"], record(shared, n)["until"]) for n in range(3)}
    assert times[2][1] < min(times[0][0], times[1][0])
    bad = good.replace("0.001", "1e30")
    code, _, log = iwae(shared, "train", "-m", *TINY, QUICK, rates, bad, *SLURM)
    assert code == 1
    assert log.splitlines()[-1].count("the run that it starts from failed") == 2


def test_several_runs_share_a_job_and_each_is_preempted_and_goes_on(shared: Path) -> None:
    gpu = ("launcher.runs_per_gpu=2", "launcher.gpus_per_node=1")
    asked = ("train", "-m", *TINY, LONG, "seed=0,1", *SLURM, *gpu)
    process = start(shared, *asked)
    wait_until(lambda: trains(shared, 0) and trains(shared, 1), "both runs train", process)
    assert job_id(shared, 0) == job_id(shared, 1)
    assert re.search("gres.gpu:1", shell("scontrol", "show", "job", job_id(shared, 0)))
    shell("scancel", "--signal=USR2", job_id(shared, 0))
    logs = [sweep_of(shared).log(number) for number in (0, 1)]
    wait_until(lambda: all("all saved" in log.read_text() for log in logs), "both are saved")
    _, log = process.communicate(timeout=limit(600))
    assert process.returncode == 0, log
    assert all("resuming" in log.read_text() for log in logs)


def test_jobs_that_slurm_refuses_are_one_line(shared: Path) -> None:
    words = ("train", "-m", *TINY, QUICK, "seed=0,1", *SLURM, "launcher.partition=nowhere")
    code, out, log = iwae(shared, *words)
    assert (code, out) == (1, "")
    assert "Traceback" not in log
    last = log.splitlines()[-1]
    assert last.startswith("iwae: SLURM refuses the jobs: sbatch: error: ")
    assert "Invalid partition name" in last


def test_without_slurm_the_launcher_says_so(shared: Path) -> None:
    code = f"import os; os.environ['PATH'] = {str(shared)!r}\n"
    code += "from iwae_cli.cli.main import main\nimport sys\nmain(sys.argv[1:], prog_name='iwae')"
    done = subprocess.run(
        [sys.executable, "-c", code, "train", "-m", *TINY, "seed=0,1", "launcher=slurm"],
        cwd=shared,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "iwae: there is no command 'sinfo': is this a SLURM cluster?"
    )


def test_the_recipe_without_any_extra_saves_queues_itself_again_and_ends(shared: Path) -> None:
    page = (ROOT / "docs" / "clusters.md").read_text()
    recipe = textwrap.dedent(page[page.index("    #!/bin/bash") : page.index("\n\n## Ray")])
    assert "srun iwae train k=50\n" in recipe
    words = shlex.join(["train", *TINY, LONG])
    script = recipe.replace("iwae train k=50", f"{sys.executable} -m iwae_cli {words}")
    (shared / "recipe.sh").write_text(script.replace("--mem=4G", "--mem=1G"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["sbatch", "--parsable", "--cpus-per-task=1", "recipe.sh"],
        cwd=shared,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    number, log = done.stdout.strip(), shared / f"slurm-{done.stdout.strip()}.out"
    wait_until(lambda: list(shared.glob("outputs/runs/*/checkpoint.pt")), "the run trains")
    shell("scancel", "--signal=USR1", number)
    wait_until(lambda: "Next: iwae eval" in log.read_text(), "the run is finished")
    assert "stopped by SIGUSR1" in log.read_text()
    assert "resuming" in log.read_text()
