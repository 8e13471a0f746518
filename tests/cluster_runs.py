"""Twelve runs and what may happen to them, for the tests of clusters."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from conftest import COMMAND, ROOT, limit, start_process

from iwae_cli.runs.checkpoint import Checkpoint
from iwae_cli.runs.sweep_folder import Record, SweepFolder

SMALL = ("dataset=digits", "arch.latents=[3]", "arch.hidden=[[8]]", "threads=1", "k=2")
SAVED = ("checkpoint_seconds=0.5", "validate_passes=0", "then.pictures=false")
TINY = (*SMALL, "optimizer=constant", *SAVED)
QUICK, LONG, ENDLESS = (f"optimizer.passes={passes}" for passes in (2, 100, 1000))
# What the twelve runs are called, and what becomes of them
FATES = [*(f"quick{n}" for n in range(8)), "preempted", "limited", "killed", "diverging"]


def shell(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def start(folder: Path, *words: str, threads: str | None = "1") -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": threads or "", "PYTHONPATH": str(ROOT)}
    if threads is None:
        del environment["OMP_NUM_THREADS"]
    return start_process(folder, environment, *COMMAND, *words)


def attached_after_a_kill(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Kill the command that has submitted a sweep, and return the same one, started again."""
    submitter = start(folder, *words)
    submitted = "outputs/sweeps/*/submitted.json"
    wait_until(lambda: list(folder.glob(submitted)), "all are submitted", submitter)
    submitter.kill()
    submitter.communicate()
    return start(folder, *words)


def iwae(folder: Path, *words: str, threads: str | None = "1") -> tuple[int, str, str]:
    process = start(folder, *words, threads=threads)
    out, log = process.communicate(timeout=limit(1800))
    return process.returncode, out, log


def wait_until(
    holds: Callable[[], object], what: str, process: "subprocess.Popen[str] | None" = None
) -> None:
    deadline = time.monotonic() + limit(900)
    while not holds():
        assert time.monotonic() < deadline, f"not in time: {what}"
        if process is not None and process.poll() is not None:
            out, log = process.communicate()
            raise AssertionError(f"ended before {what}: {out} {log}")
        time.sleep(0.05)


def sweep_of(folder: Path) -> SweepFolder:
    (found,) = folder.glob("outputs/sweeps/*")
    return SweepFolder(found)


def record(folder: Path, number: int) -> Record:
    return (sweep_of(folder).record(number) if list(folder.glob("outputs/sweeps/*")) else {}) or {}


def trains(folder: Path, number: int) -> bool:
    """Whether a run has taken some passes, and is under way."""
    found = record(folder, number)
    metrics = Path(found.get("folder", "none"), "metrics.csv")
    return (
        found.get("state") == "running"
        and metrics.exists()
        and metrics.read_text().count("\n") > 5
        and (metrics.parent / "checkpoint.pt").exists()
    )


def job_id(folder: Path, number: int) -> str:
    return sweep_of(folder).submitted()[number]


def experiments(folder: Path) -> tuple[str, ...]:
    """Write a YAML for each of the twelve runs; return the words that ask for them."""
    (folder / "mine" / "experiment").mkdir(parents=True)
    for seed, name in enumerate(FATES):
        passes = 100 if name in ("preempted", "limited", "killed") else 2
        rate = 1e30 if name == "diverging" else 0.001
        text = f"# @package _global_\nseed: {seed}\n"
        text += f"optimizer: {{passes: {passes}, learning_rate: {rate}}}\n"
        (folder / "mine" / "experiment" / f"{name}.yaml").write_text(text)
    words = (
        "train",
        "-m",
        "--config-dir",
        "mine",
        *TINY,
        "then.eval=[5]",
        "then.active_units=true",
    )
    return (*words, f"experiment={','.join(FATES)}")


def parameters(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Return the parameters of every run by its name, without those of the one that diverges."""
    failing = f"seed{FATES.index('diverging')}-"  # it may have saved before, or not
    found = [p for p in folder.glob("outputs/runs/*/checkpoint.pt") if failing not in str(p)]
    return {path.parent.name: dict(Checkpoint.read(path).model) for path in found}


def report_without_times(folder: Path) -> dict[str, str]:
    """Return the tables of `iwae report`, without the columns of times."""
    code, _, log = iwae(folder, "report", "outputs", "--output", "report")
    assert code == 0, log
    tables = {}
    for path in sorted((folder / "report").glob("*.csv")):
        table = pd.read_csv(path)
        timed = [name for name in table if re.search("second|started|evaluated|folder", str(name))]
        tables[path.name] = table.drop(columns=timed).to_csv()
    return tables


def assert_like_local_runs(shared: Path, asked: tuple[str, ...]) -> None:
    """Assert that runs and tables equal those of the same sweep in one process, but for times."""
    local = shared / "local"
    local.mkdir()
    shutil.copytree(shared / "mine", local / "mine")
    code, _, log = iwae(local, *asked, "launcher=local")
    assert code == 1, log
    ours, theirs = parameters(shared), parameters(local)
    assert len(ours) == 11
    assert ours.keys() == theirs.keys()
    for name in ours:
        for key, tensor in ours[name].items():
            assert torch.equal(tensor, theirs[name][key]), f"{name} {key}"
    assert report_without_times(shared) == report_without_times(local)
