"""Run folders for the tests of reports: real ones, and copies with other contents."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from conftest import ROOT, limit, tiny_run
from omegaconf import OmegaConf

from iwae_cli.reports.report import Report
from iwae_cli.runs.checked_table import text_of
from iwae_cli.runs.config_yaml import config_digest, read_config
from iwae_cli.runs.environment_json import write_environment

# Five runs of a second each: VAE and IWAE with k = 1 and 2, and a second seed
MODELS = (
    ("-m", "objective=vae,iwae", "k=1,2"),
    ("objective=iwae", "k=2", "seed=1"),
)


def command(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line as a real process."""
    return subprocess.run(
        [sys.executable, "-m", "iwae_cli", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=limit(300),
        check=False,
    )


def trained_runs(folder: Path) -> Path:
    """Train, evaluate and count the tiny models; return their folder."""
    for overrides in MODELS:
        done = command(*tiny_run(*overrides), cwd=folder)
        assert done.returncode == 0, done.stderr
    runs = folder / "outputs" / "runs"
    asked = [word for run in sorted(runs.iterdir()) for word in ("--checkpoint", run)]
    for arguments in (("eval", "--k", "3,20"), ("active-units", "--samples", "1")):
        done = command(*arguments, *asked, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder / "outputs"


def run_of(outputs: Path, objective: str, k: int, seed: int = 0) -> Path:
    """Return the folder of one of the tiny models."""
    (found,) = outputs.glob(f"runs/*-{objective}-k{k}-seed{seed}-*")
    return found


def change_config(run: Path, changes: Mapping[str, Any]) -> None:
    """Set keys of a run's config.yaml, dotted ones deep inside."""
    config = OmegaConf.load(run / "config.yaml")
    for key, value in changes.items():
        OmegaConf.update(config, key, value, force_add=True)
    OmegaConf.save(config, run / "config.yaml")
    if (run / "environment.json").exists():
        change_environment(run, config=config_digest(read_config(run / "config.yaml")))


def change_environment(run: Path, **changes: Any) -> None:
    """Set top-level keys of a run's environment.json."""
    path = run / "environment.json"
    write_environment(path, {**json.loads(path.read_text()), **changes})


def copy_of(run: Path, name: str, **config: Any) -> Path:
    """Return a copy of a run with another name and other keys of its config."""
    copied = Path(shutil.copytree(run, run.parent / name))
    change_config(copied, config)
    return copied


def evaluated(run: Path, *, nll: float, k: int = 5000, images: int = 400) -> None:
    """Replace the evaluations of a run by one with this result."""
    table = pd.read_csv(run / "eval.csv").iloc[-1:]
    changed = table.assign(nll=nll, k=k, images=images)
    write_table(run / "eval.csv", changed)


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as a run does, with a checksum in each row."""
    path.write_text(text_of(table))


def paper_run(run: Path, name: str, *, layers: Sequence[int] = (50,), **config: Any) -> Path:
    """Return a copy of a run that says it is the paper's architecture on MNIST."""
    hidden = {1: [[200, 200]], 2: [[200, 200], [100, 100]]}[len(layers)]
    copied = copy_of(run, name, dataset={"name": "mnist"}, **config)
    change_config(copied, {"arch.latents": list(layers), "arch.hidden": hidden})
    change_environment(copied, data={"label": "MNIST", "hash": "1234", "images": {"test": 400}})
    return copied


def cell(report: Report, **place: Any) -> dict[str, Any]:
    """Return the one cell of the results that is at this place."""
    table = report.cells
    for key, value in place.items():
        table = table[table[key] == value]
    (row,) = table.to_dict("records")
    return {str(key): value for key, value in row.items()}
