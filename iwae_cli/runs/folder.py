"""The folder of a run: its files, its lock, and the tables that grow in it."""

import csv
import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from omegaconf import OmegaConf

from iwae_cli.core.atomic_write import write_arrays, write_atomically, write_table
from iwae_cli.core.errors import ResultsError, RunLockedError, UsageError
from iwae_cli.runs.eval_csv import KEY, with_later_columns
from iwae_cli.runs.metrics import Metrics


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
        try:
            with FileLock(self.path / ".lock", timeout=-1 if wait else 0):
                yield
        except Timeout:
            raise RunLockedError(
                f"{self.path} is in use by another process; wait for it or end it"
            ) from None

    def is_locked(self) -> bool:
        """Whether a process holds the run; nothing is created, not even where there is no lock."""
        path = self.path / ".lock"
        if not path.exists():
            return False
        try:
            with FileLock(path, timeout=0, is_singleton=False):
                return False
        except Timeout:
            return True
        except OSError:  # a read-only copy of a run: nobody trains there
            return False

    @contextmanager
    def results_lock(self) -> Iterator[None]:
        """Hold the tables of results while they are read and written again."""
        with FileLock(self.path / ".results.lock"):
            yield

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write the resolved configuration."""
        write_atomically(self.config, OmegaConf.to_yaml(OmegaConf.create(dict(config))).encode())

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        """Write where and with what the run is trained."""
        write_atomically(self.environment, (json.dumps(environment, indent=2) + "\n").encode())

    def write_metrics(self, rows: Sequence[Metrics]) -> None:
        """Write metrics.csv anew, so that it holds the passes of the checkpoint and no other."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("pass", *Metrics._fields[1:]))
        writer.writerows(cells(row) for row in rows)
        write_atomically(self.metrics, text.getvalue().encode())

    def append_metrics(self, row: Metrics) -> None:
        """Add one finished pass to metrics.csv."""
        with self.metrics.open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(cells(row))

    def read_evaluations(self) -> pd.DataFrame:
        """Return the rows of eval.csv, none if there is no such file."""
        if not self.evaluations.exists():
            return pd.DataFrame(columns=KEY)
        lines = self.evaluations.read_text().splitlines(keepends=True)
        fields = {len(row) for row in csv.reader(lines)}
        if len(fields) != 1 or not lines[-1].endswith("\n"):
            raise ResultsError(f"{self.evaluations} is damaged: move it away and evaluate again")
        return with_later_columns(pd.read_csv(self.evaluations))

    def read_per_image(self) -> dict[str, NDArray[np.float64]]:
        """Return the arrays of per_image.npz by name, none if there is no such file."""
        if not self.per_image.exists():
            return {}
        try:
            with np.load(self.per_image, allow_pickle=False) as stored:
                return dict(stored)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            raise ResultsError(
                f"{self.per_image} is damaged: move it and eval.csv away and evaluate again"
            ) from None

    def add_evaluation(
        self, rows: Sequence[Mapping[str, Any]], per_image: Mapping[str, NDArray[np.float64]]
    ) -> None:
        """Add rows to eval.csv and arrays to per_image.npz; equal keys are replaced."""
        with self.results_lock():
            write_arrays(self.per_image, {**self.read_per_image(), **per_image})
            known = self.read_evaluations()
            new = pd.DataFrame(rows)
            table = new if known.empty else pd.concat([known, new])
            table = table.drop_duplicates(KEY, keep="last")
            write_table(self.evaluations, table)

    def write_active_units(self, table: pd.DataFrame) -> None:
        """Write the variances of all latent units."""
        with self.results_lock():
            write_table(self.active_units, table)

    def write_removal(self, row: Mapping[str, Any]) -> None:
        """Write the test NLL with and without the inactive units."""
        with self.results_lock():
            write_table(self.removal, pd.DataFrame([row]))

    def write_gradients(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write what the gradients of each estimator came to."""
        write_table(self.gradients, pd.DataFrame(rows))

    def write_pictures(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write the arrays that plots of the model are drawn from."""
        write_arrays(self.pictures, arrays)


class UnsavedResults(RunFolder):
    """Stands for the run folder of a checkpoint outside of one: nothing is written.

    The estimates of single images are kept for whoever asks again while the command runs.
    """

    saved = False

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.arrays: dict[str, NDArray[np.float64]] = {}

    def file(self, name: str) -> Path:
        """Raise UsageError: there is no such place."""
        raise UsageError(
            f"the checkpoint {self.path.name} is outside a run folder: name a file with --output"
        )

    def read_evaluations(self) -> pd.DataFrame:
        """Return no rows."""
        return pd.DataFrame(columns=KEY)

    def read_per_image(self) -> dict[str, NDArray[np.float64]]:
        """Return what was added."""
        return self.arrays

    def add_evaluation(
        self, rows: Sequence[Mapping[str, Any]], per_image: Mapping[str, NDArray[np.float64]]
    ) -> None:
        """Keep the arrays."""
        self.arrays.update(per_image)

    def write_active_units(self, table: pd.DataFrame) -> None:
        """Write nothing."""

    def write_removal(self, row: Mapping[str, Any]) -> None:
        """Write nothing."""

    def write_gradients(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write nothing."""


def cells(row: Metrics) -> list[str]:
    """Return a pass as text: exact floats, an empty cell where nothing was measured."""
    return ["" if value != value else repr(value) for value in row]


def run_folder_of(path: str | Path) -> tuple[RunFolder, Path]:
    """Return the run folder and the checkpoint file that `path`, either of them, stands for.

    A file outside a run folder (one without a config.yaml), such as an exported model, has none:
    what is found out about it is written nowhere unless a place is named.
    """
    path = Path(path)
    if path.is_dir():
        folder = RunFolder(path)
        return folder, folder.checkpoint
    folder = RunFolder(path.parent)
    outside = path.exists() and not folder.config.exists()
    return (UnsavedResults(path) if outside else folder), path


def run_name(*, dataset: str, arch: str, objective: str, k: int, seed: int, identity: str) -> str:
    """Return the name of a run's folder."""
    return f"{dataset}-{arch}-{objective}-k{k}-seed{seed}-{identity[:8]}"


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
