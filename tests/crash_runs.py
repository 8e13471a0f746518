"""What the processes of the crash harness do, and what has to come of it."""

import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pandas as pd
import sklearn.datasets  # noqa: F401  (what the work imports late is there before the first kill)

from iwae_cli.cli.launch import Plan, launch, plan
from iwae_cli.evaluation.evaluate import evaluate
from iwae_cli.models import bernoulli_kernel  # noqa: F401
from iwae_cli.reports.report import report_of, write
from iwae_cli.runs.arrays_file import read_arrays
from iwae_cli.runs.checkpoint import Checkpoint
from iwae_cli.runs.sweep_folder import SweepFolder
from iwae_cli.training import run as training  # noqa: F401

# Columns that differ from one machine's hour, or one folder, to the next
TIMES = {"seconds", "images_per_second", "samples_per_second", "training_seconds"}
TIMES |= {"evaluated", "started", "check", "folder", "outputs"}
SHAPE = ("dataset=digits", "arch.latents=[4,3]", "arch.hidden=[[8],[6]]", "threads=1")
SMALL = (*SHAPE, "optimizer=fast", "optimizer.passes=1", "checkpoint_seconds=0.1")
STAGES = ("k=4", "objective=dreg,stl", "init_from={objective:{name:vae},k:2}")
THEN = ("then.eval=[3,20]", "then.active_units=true", "then.check_active_units=false")


def asked(outputs: Path) -> Plan:
    """Return a sweep over two objectives of runs that start from one parent."""
    return plan([*SMALL, *STAGES, *THEN, f"outputs={outputs}"], multirun=True)


def train(todo: Plan) -> None:
    """Train what is asked for, evaluate, count units, draw; go on with what is there."""
    launch(todo)
    run = next(Path(todo.points[0].config.outputs).glob("runs/*-dreg-k4-seed0-*"))
    evaluate(run, k=[5], split="valid", limit=40)


def report(todo: Plan) -> None:
    """Write the report of it."""
    outputs = Path(todo.points[0].config.outputs)
    write(report_of(outputs), outputs / "report", formats=[])


def limited(
    work: Callable[[Plan], None], todo: Plan, seconds: float, used: Connection | None
) -> None:
    """Do some work in this process, which is killed when it has used some processor time.

    Time of the processor, so that a busy machine gets as far; nobody catches SIGPROF, and the
    kernel ends a process by it as by SIGKILL. Zero seconds are no limit; then `used` is told how
    many it took.
    """
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, sys.stdout.fileno())
    os.dup2(quiet, sys.stderr.fileno())
    start = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, seconds)
    work(todo)
    signal.setitimer(signal.ITIMER_PROF, 0)
    if used:
        used.send(time.process_time() - start)


def outcome(outputs: Path) -> dict[str, Any]:
    """Return all that has to be equal, bit for bit, however often the work was killed."""
    found: dict[str, Any] = {}
    for run in sorted((outputs / "runs").iterdir()):
        stored = Checkpoint.read(run / "checkpoint.pt")
        state = stored.training
        found[f"{run.name} parameters"] = stored.parameters_digest
        found[f"{run.name} optimizer"] = str(stored.optimizer)
        found[f"{run.name} training"] = (state.steps, str(state.order), str(state.generator))
        for name in ("metrics.csv", "eval.csv", "active_units.csv"):
            if (run / name).exists():
                found[f"{run.name} {name}"] = without_times(run / name).to_csv()
        for name in ("per_image.npz", "pictures.npz"):
            if (run / name).exists():
                arrays = read_arrays(run / name)
                found[f"{run.name} {name}"] = {
                    key: array.tobytes() for key, array in arrays.items()
                }
        found[f"{run.name} files"] = files_in(run)
    for path in (outputs / "sweeps").iterdir():
        sweep = SweepFolder(path)
        for job in sweep.jobs():
            record = sweep.record(job.number) or {}
            told = record.get("result", {})
            found[f"job {job.number}"] = (record.get("state"), told.get("steps"), told.get("bound"))
        found["files of jobs"] = files_in(path / "jobs")
    found["report"] = report_of(outputs / "runs").cells.to_csv()
    if (outputs / "report").exists():
        found["files of the report"] = files_in(outputs / "report")
        for table in sorted((outputs / "report").glob("*.csv")):
            found[table.name] = without_times(table).to_csv()
    return found


def without_times(path: Path) -> pd.DataFrame:
    """Return a table without what differs from one machine's hour, or one folder, to the next."""
    table = pd.read_csv(path)
    return table.drop(columns=[name for name in table if name.split(".")[-1] in TIMES])


def files_in(folder: Path) -> list[str]:
    """Return the names of all files in and below a folder but those of locks."""
    names = (str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    return sorted(name for name in names if not name.endswith((".held", ".lock")))
