"""What the processes of the crash harness do, and what has to come of it."""

import os
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from conftest import settings

from iwae_cli.reports.report import report_of, write
from iwae_cli.runs.arrays_file import read_arrays
from iwae_cli.runs.checkpoint import Checkpoint
from iwae_cli.training import run as training

# Columns that differ from one machine's hour to the next
TIMES = ("seconds", "images_per_second", "samples_per_second", "evaluated", "check")


def everything(outputs: Path, report: bool) -> None:
    """Train two stages, evaluate, count units, draw; go on with what is there."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, sys.stderr.fileno())
    os.environ["OMP_NUM_THREADS"] = "1"
    asked: dict[str, Any] = {
        "optimizer": {"name": "paper", "stages": 2},
        "objective": {"name": "dreg"},
        "k": 4,
        "init_from": {"objective": {"name": "vae"}, "k": 2},
        "checkpoint_seconds": 0.02,
        "then": {"eval": [3, 20], "active_units": True, "check_active_units": False},
    }
    training.run(settings(outputs, **asked))
    if report:
        write(report_of(outputs), outputs / "report")


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
            table = pd.read_csv(run / name)
            times = [column for column in TIMES if column in table]
            found[f"{run.name} {name}"] = table.drop(columns=times).to_csv()
        for name in ("per_image.npz", "pictures.npz"):
            arrays = read_arrays(run / name)
            found[f"{run.name} {name}"] = {key: array.tobytes() for key, array in arrays.items()}
        found[f"{run.name} files"] = sorted(
            file.name for file in run.iterdir() if not file.name.endswith(".held")
        )
    found["report"] = report_of(outputs / "runs").cells.to_csv()
    return found
