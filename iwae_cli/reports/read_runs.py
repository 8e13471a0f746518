"""Run folders read from disk, with a list of every file that could not be read."""

import csv
import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from iwae_cli.core.config import FORMAT_VERSION
from iwae_cli.core.errors import ReportError
from iwae_cli.core.progress import ProgressReport
from iwae_cli.reports.run_record import Arrays, RunRecord
from iwae_cli.runs.eval_csv import COLUMNS, with_later_columns
from iwae_cli.runs.folder import RunFolder

METRICS = ("pass", "k", "learning_rate", "train_bound", "valid_bound", "seconds")
REMOVAL = ("passes", "seed", "threshold", "k", "images", "nll", "difference", "se_difference")
ACTIVE_UNITS = ("layer", "unit", "variance", "active", "passes", "threshold", "definition")
TEXT = ("split", "estimator", "definition", "run", "data", "binarization", "device")
NODES = ("arch", "dataset", "objective", "optimizer")


class Unreadable(NamedTuple):
    """A file, or a part of one, that was left out, and why."""

    path: Path
    reason: str


@dataclass
class RunReader:
    """Reads run folders and collects what it cannot read.

    Args:
        arrays: Whether to read per_image.npz and pictures.npz too.
    """

    arrays: bool = True
    unreadable: list[Unreadable] = field(default_factory=list)

    def runs(self, top: Path) -> list[RunRecord]:
        """Return every run in or below a folder that can be read, sorted by path."""
        folders, runs = sorted(self.run_folders(top)), []
        with ProgressReport("reading", total=len(folders)) as progress:
            for done, path in enumerate(folders, start=1):
                runs.append(self.run(path))
                progress.update(done, f"run {done} of {len(folders)}")
        return [run for run in runs if run is not None]

    def run_folders(self, top: Path) -> Iterator[Path]:
        """Yield folders with a checkpoint, or with a config and something that came of it."""

        def refuse(error: OSError) -> None:
            self.unreadable.append(Unreadable(Path(error.filename), error.strerror or "?"))

        for path, folders, files in os.walk(top, onerror=refuse):
            folders[:] = [name for name in folders if not name.startswith(".")]
            results = {"environment.json", "metrics.csv", "eval.csv", "train.log"}
            if "checkpoint.pt" in files or ("config.yaml" in files and results & set(files)):
                yield Path(path)

    def run(self, path: Path) -> RunRecord | None:
        """Return a run, or None without a config and an environment of this format."""
        folder = RunFolder(path)
        environment, config = self._environment(folder.environment), self._config(folder.config)
        if environment is None or config is None:
            return None
        written_in = environment.get("format", FORMAT_VERSION)
        if written_in != FORMAT_VERSION:
            writer = environment.get("iwae", "unknown")
            reason = (
                f"format {written_in}, written by version {writer} of iwae; this version reads "
                f"format {FORMAT_VERSION}"
            )
            self.unreadable.append(Unreadable(folder.environment, reason))
            return None
        return RunRecord(
            folder=folder,
            config=config,
            environment=environment,
            metrics=self._csv(folder.metrics, METRICS),
            evaluations=with_later_columns(self._csv(folder.evaluations, COLUMNS)),
            active_units=self._csv(folder.active_units, ACTIVE_UNITS),
            removal=self._csv(folder.removal, REMOVAL),
            per_image=self._npz(folder.per_image),
            pictures=self._npz(path / "pictures.npz"),
        )

    def _config(self, path: Path) -> Mapping[str, Any] | None:
        try:
            config: Any = OmegaConf.to_container(OmegaConf.load(path), throw_on_missing=True)
            fault = config_fault(config)
        except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException) as error:
            fault = first_line(error)
        if fault is None:
            return dict(config)
        self.unreadable.append(Unreadable(path, fault))
        return None

    def _environment(self, path: Path) -> dict[str, Any] | None:
        try:
            content = json.loads(path.read_text())
            data = content.get("data") if isinstance(content, dict) else None
            if isinstance(data, dict) and {"label", "hash"} <= data.keys():
                return dict(content)
            fault = "no key 'data' with label and hash"
        except (OSError, ValueError) as error:
            fault = first_line(error)
        self.unreadable.append(Unreadable(path, fault))
        return None

    def _csv(self, path: Path, columns: Sequence[str]) -> pd.DataFrame:
        """Return the whole rows of a CSV; rows that are cut short are named and left out."""
        empty = pd.DataFrame(columns=list(columns))
        if not path.exists():
            return empty
        try:
            text, fault = whole_rows(path.read_text())
            table = pd.read_csv(io.StringIO(text))
            missing = [name for name in columns if name not in table]
            if missing:
                raise ValueError(f"no column '{missing[0]}'")
            for name in set(columns) - set(TEXT):
                table[name] = pd.to_numeric(table[name])
        except (OSError, ValueError, csv.Error) as error:  # pandas' own errors are ValueErrors
            fault, table = first_line(error), empty
        if fault:
            self.unreadable.append(Unreadable(path, fault))
        return table

    def _npz(self, path: Path) -> Arrays:
        if not self.arrays or not path.exists():
            return {}
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                return dict(stored)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            self.unreadable.append(Unreadable(path, first_line(error)))
            return {}


def config_fault(config: object) -> str | None:
    """Return what a report needs and a config has not, if anything."""
    if not isinstance(config, dict):
        return "no mapping of keys"
    for node in NODES:
        if not (isinstance(config.get(node), dict) and "name" in config[node]):
            return f"no key '{node}' with a name"
    for key in ("k", "seed"):
        if not isinstance(config.get(key), int):
            return f"no whole number '{key}'"
    if not isinstance(config["arch"].get("latents"), list):
        return "no list 'arch.latents'"
    return None


def whole_rows(text: str) -> tuple[str, str | None]:
    """Return the rows of a CSV that are whole, and a description of the others, if there are any.

    A row is whole if it has as many fields as the header and ends with a line end.
    """
    lines = text.splitlines(keepends=True)
    fields = [len(row) for row in csv.reader(lines)]
    if len(fields) != len(lines):
        raise ValueError("a quoted field runs over a line end")
    cut = [
        number
        for number, (line, count) in enumerate(zip(lines, fields, strict=True), start=1)
        if count != fields[0] or not line.endswith("\n")
    ]
    if not cut:
        return text, None
    kept = "".join(line for number, line in enumerate(lines, start=1) if number not in cut)
    return kept, f"half-written: line {cut[0]} is incomplete and was left out"


def first_line(error: Exception) -> str:
    """Return an exception as one short line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0][:160]


def read_runs(folder: Path, *, arrays: bool) -> tuple[list[RunRecord], list[Unreadable]]:
    """Return the runs in or below a folder, and the files that could not be read.

    Raises:
        ReportError: There is no trace of a run.
    """
    reader = RunReader(arrays=arrays)
    runs = reader.runs(folder)
    if not runs and not reader.unreadable:
        raise ReportError(
            f"no run in or below {folder}; train one with 'iwae train', or name the folder that "
            "holds runs"
        )
    return runs, reader.unreadable
