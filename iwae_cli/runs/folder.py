"""The folder of a run: its files, its lock, and the tables that grow in it."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from iwae_cli.core.atomic_write import naming, remove_leftovers, write_arrays, write_atomically
from iwae_cli.core.errors import ResultsError, UsageError
from iwae_cli.runs.arrays_file import read_arrays
from iwae_cli.runs.checked_table import CHECK, lines_of, parsed, text_of
from iwae_cli.runs.config_yaml import write_config
from iwae_cli.runs.environment_json import write_environment
from iwae_cli.runs.eval_csv import COLUMNS, KEY, with_later_columns, without_stale
from iwae_cli.runs.lock import held, is_held
from iwae_cli.runs.metrics import Metrics, cells

# The columns of metrics.csv
METRICS = ("pass", *Metrics._fields[1:])


class RunFolder:
    """Paths and tables of one run; `path` need not exist yet."""

    saved = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.checkpoint = path / "checkpoint.pt"
        self.metrics = path / "metrics.csv"
        self.evaluations = path / "eval.csv"
        self.per_image = path / "per_image.npz"
        self.active_units = path / "active_units.csv"
        self.removal = path / "removal.csv"
        self.gradients = path / "gradients.csv"
        self.pictures = path / "pictures.npz"
        self.ais_steps = path / "ais_steps.npz"
        self.environment = path / "environment.json"
        self.log = path / "train.log"
        self.plots = path / "plots"

    def file(self, name: str) -> Path:
        """Return where a result of this name is written unless another place is named."""
        return self.path / name

    @contextmanager
    def lock(self, *, wait: bool = False) -> Iterator[None]:
        """Hold the run for training; with `wait`, as soon as no other process does.

        Raises:
            RunLockedError: Another process is training this run.
        """
        with held(self.path / ".lock", wait=wait):
            remove_leftovers(self.checkpoint, self.metrics, self.config, self.environment)
            yield

    def is_locked(self) -> bool:
        """Whether a process holds the run; nothing is created, not even where there is no lock."""
        return is_held(self.path / ".lock")

    @contextmanager
    def results_lock(self) -> Iterator[None]:
        """Hold the tables of results while they are read and written again."""
        with held(self.path / ".results.lock", wait=True):
            remove_leftovers(self.evaluations, self.per_image, self.active_units, self.removal)
            remove_leftovers(self.gradients, self.pictures, self.ais_steps)
            yield

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write the resolved configuration."""
        write_config(self.config, config)

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        """Write where and with what the run is trained."""
        write_environment(self.environment, environment)

    def write_metrics(self, rows: Sequence[Metrics]) -> None:
        """Write metrics.csv anew, so that it holds the passes of the checkpoint and no other."""
        header = ",".join([*METRICS, CHECK]) + "\n"
        write_atomically(self.metrics, (header + lines_of(METRICS, [*map(cells, rows)])).encode())

    def append_metrics(self, row: Metrics) -> None:
        """Add one finished pass to metrics.csv."""
        with naming(self.metrics), self.metrics.open("a", newline="") as file:
            file.write(lines_of(METRICS, [cells(row)]))

    def read_evaluations(self) -> pd.DataFrame:
        """Return the rows of eval.csv, none if there is no such file.

        Raises:
            ResultsError: It is damaged.
        """
        table = self.read_table(self.evaluations)
        if table is None:
            return pd.DataFrame(columns=KEY)
        missing = [name for name in COLUMNS if name not in table]
        if missing:
            raise self.damaged(self.evaluations, f"no column '{missing[0]}'")
        return with_later_columns(table)

    def read_table(self, path: Path) -> pd.DataFrame | None:
        """Return a table of this folder, None if there is no such file.

        Raises:
            ResultsError: It is damaged.
        """
        if not path.exists():
            return None
        try:
            found = parsed(path.read_bytes())
        except (OSError, ValueError, csv.Error) as error:
            raise self.damaged(path, getattr(error, "strerror", None) or error) from None
        if found.fault:
            raise self.damaged(path, found.fault)
        return found.table

    def damaged(self, path: Path, fault: object) -> ResultsError:
        """Return the error for a file of results that is damaged."""
        why = " ".join(str(fault).split())
        return ResultsError(f"{path} is damaged ({why}): move it away and evaluate again")

    def read_per_image(self) -> dict[str, NDArray[np.float64]]:
        """Return the arrays of per_image.npz by name, none if there is no such file.

        Raises:
            ResultsError: It is damaged.
        """
        return self.read_arrays(self.per_image)

    def read_arrays(self, path: Path) -> dict[str, NDArray[Any]]:
        """Return the arrays of a file of this folder by name, none if there is no such file.

        Raises:
            ResultsError: It is damaged.
        """
        if not path.exists():
            return {}
        try:
            return read_arrays(path)
        except (OSError, ValueError) as error:
            raise self.damaged(path, error) from None

    def arrays_of(self, path: Path, *, parameters: str) -> dict[str, NDArray[Any]]:
        """Return the arrays of a file, none where it is missing or of other parameters.

        Raises:
            ResultsError: It is damaged.
        """
        found = self.read_arrays(path)
        return found if str(found.pop("parameters", "")) == parameters else {}

    def add_arrays_of(
        self, path: Path, arrays: Mapping[str, NDArray[Any]], *, parameters: str
    ) -> None:
        """Add arrays to a file, with the digest of the parameters that all in it belong to."""
        with self.results_lock():
            known = self.arrays_of(path, parameters=parameters)
            write_arrays(path, {**known, **arrays, "parameters": np.array(parameters)})

    def add_evaluation(
        self, rows: Sequence[Mapping[str, Any]], per_image: Mapping[str, NDArray[np.float64]]
    ) -> None:
        """Add rows to eval.csv and arrays to per_image.npz; equal keys are replaced."""
        with self.results_lock():
            write_arrays(self.per_image, {**self.read_per_image(), **per_image})
            new = pd.DataFrame(rows)
            known = without_stale(self.read_evaluations(), new)
            table = new if known.empty else pd.concat([known, new])
            table = table.drop_duplicates(KEY, keep="last")
            self.write_table(self.evaluations, table)

    def write_table(self, path: Path, table: pd.DataFrame) -> None:
        """Replace a table of this folder."""
        write_atomically(path, text_of(table).encode())

    def write_active_units(self, table: pd.DataFrame, *, name: str = "") -> None:
        """Write the variances of all latent units; `name` tells those apart that are no record."""
        with self.results_lock():
            self.write_table(self.path / f"active_units{name}.csv", table)

    def write_removal(self, row: Mapping[str, Any], *, name: str = "") -> None:
        """Write the test NLL with and without the inactive units."""
        with self.results_lock():
            self.write_table(self.path / f"removal{name}.csv", pd.DataFrame([row]))

    def recorded(self, path: Path, *, parameters: str, steps: int) -> pd.DataFrame | None:
        """Return a table if it is whole and of a model with these parameters.

        Args:
            path: Of active units or of what their removal came to.
            parameters: Their digest.
            steps: Of training, which tell where an earlier version wrote no digest.
        """
        try:
            table = self.read_table(path)
        except ResultsError:  # counted anew, which replaces it
            return None
        if table is None or table.empty:
            return None
        name, own = ("parameters", parameters) if "parameters" in table else ("steps", steps)
        return table if name in table and set(table[name]) == {own} else None

    def write_gradients(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write what the gradients of each estimator came to."""
        with self.results_lock():
            self.write_table(self.gradients, pd.DataFrame(rows))

    def write_pictures(self, arrays: Mapping[str, NDArray[Any]], *, parameters: str) -> None:
        """Write the arrays that plots of the model are drawn from, with its parameters' digest."""
        with self.results_lock():
            write_arrays(self.pictures, {**arrays, "parameters": np.array(parameters)})

    def has_pictures(self, parameters: str) -> bool:
        """Whether there are whole pictures of a model with these parameters."""
        try:
            found = read_arrays(self.pictures)
        except (OSError, ValueError):
            return False
        return str(found.get("parameters", parameters)) == parameters


def run_name(*, dataset: str, sizes: str, objective: str, k: int, seed: int, identity: str) -> str:
    """Return the name of a run's folder."""
    return f"{dataset}-{sizes}-{objective}-k{k}-seed{seed}-{identity[:8]}"


def newest_run(outputs: Path) -> Path:
    """Return the folder below `outputs`/runs whose checkpoint was written last.

    Raises:
        UsageError: There is none.
    """
    found = sorted((outputs / "runs").glob("*/checkpoint.pt"), key=lambda p: p.stat().st_mtime)
    if not found:
        raise UsageError(
            f"no run with a checkpoint below {outputs / 'runs'}; train one with 'iwae train', "
            "or name one with --checkpoint PATH"
        )
    return found[-1].parent
