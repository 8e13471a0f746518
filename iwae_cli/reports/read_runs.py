"""Run folders read from disk, with a list of every file that could not be read."""

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from iwae_cli.core.errors import ReportError
from iwae_cli.core.identity import FORMAT_VERSION
from iwae_cli.core.progress import ProgressReport
from iwae_cli.reports.held_to import config_fault, environment_fault, own_rows
from iwae_cli.reports.naming import natural
from iwae_cli.reports.run_record import Arrays, RunRecord
from iwae_cli.runs.arrays_file import read_arrays
from iwae_cli.runs.checked_table import parsed
from iwae_cli.runs.config_yaml import config_digest, read_config
from iwae_cli.runs.environment_json import read_environment
from iwae_cli.runs.eval_csv import ARRAY_KEY, COLUMNS, KEY, agrees, key_of, with_later_columns
from iwae_cli.runs.folder import RunFolder

METRICS = ("pass", "k", "learning_rate", "train_bound", "valid_bound", "seconds")
REMOVAL = ("passes", "seed", "threshold", "k", "images", "nll", "difference", "se_difference")
ACTIVE_UNITS = ("layer", "unit", "variance", "active", "passes", "threshold", "definition")
TEXT = ("split", "estimator", "definition", "run", "data", "binarization", "likelihood", "device")


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
        """Return every run in or below a folder that can be read, seed 2 before seed 10."""
        folders = sorted(self.run_folders(top), key=lambda path: natural(str(path)))
        runs: list[RunRecord | None] = []
        with ProgressReport("reading", total=len(folders)) as progress:
            for done, path in enumerate(folders, start=1):
                runs.append(self.run(path))
                progress.update(done, f"run {done} of {len(folders)}")
        return [run for run in runs if run is not None]

    def run_folders(self, top: Path) -> Iterator[Path]:
        """Yield folders with a checkpoint, or with a config and something that came of it."""

        def refuse(error: OSError) -> None:
            self.unreadable.append(Unreadable(Path(error.filename), error.strerror or "?"))

        seen: set[str] = set()
        for path, folders, files in os.walk(top, onerror=refuse, followlinks=True):
            real = os.path.realpath(path)
            if real in seen:  # a link to a folder above it, or a second one to the same
                folders.clear()
                continue
            seen.add(real)
            folders[:] = [name for name in sorted(folders) if not name.startswith(".")]
            results = {"environment.json", "metrics.csv", "eval.csv", "train.log"}
            if "checkpoint.pt" in files or ("config.yaml" in files and results & set(files)):
                yield Path(path)

    def run(self, path: Path) -> RunRecord | None:
        """Return a run, or None without a config and an environment of this format."""
        folder = RunFolder(path)
        environment = self._environment(folder.environment)
        if environment is None:
            return None
        config = self._config(folder.config, environment)
        if config is None:
            return None
        evaluations = self._results(folder.evaluations, COLUMNS, environment)
        return RunRecord(
            folder=folder,
            config=config,
            environment=environment,
            metrics=self._csv(folder.metrics, METRICS),
            evaluations=with_later_columns(evaluations),
            active_units=self._results(folder.active_units, ACTIVE_UNITS, environment),
            removal=self._results(folder.removal, REMOVAL, environment),
            per_image=self._per_image(folder.per_image, evaluations),
            pictures=self._pictures(folder.pictures, environment),
        )

    def _left_out(self, path: Path, reason: object) -> None:
        self.unreadable.append(Unreadable(path, " ".join(str(reason).split())[:160]))

    def _config(self, path: Path, environment: Mapping[str, Any]) -> Mapping[str, Any] | None:
        try:
            config = read_config(path)
            fault = config_fault(config)
        except (OSError, ValueError) as error:
            fault = first_line(error)
        if fault is None and environment.get("config", config_digest(config)) == config_digest(
            config
        ):
            return config
        self._left_out(path, fault or "changed after training: 'iwae eval' of this run restores it")
        return None

    def _environment(self, path: Path) -> dict[str, Any] | None:
        """Return environment.json, or None if it is damaged or of another format."""
        try:
            content = read_environment(path)
            fault = environment_fault(content)
        except (OSError, ValueError) as error:
            fault = first_line(error)
        if (
            fault is None
            and (written_in := content.get("format", FORMAT_VERSION)) != FORMAT_VERSION
        ):
            fault = (
                f"format {written_in}, written by version {content.get('iwae', 'unknown')} of "
                f"iwae; this version reads format {FORMAT_VERSION}"
            )
        if fault is None:
            return content
        self._left_out(path, fault)
        return None

    def _results(
        self, path: Path, columns: Sequence[str], environment: Mapping[str, Any]
    ) -> pd.DataFrame:
        """Return the rows of a table that are results of this run."""
        table, fault = own_rows(self._csv(path, columns), environment)
        if fault:
            self._left_out(path, fault)
        return table

    def _csv(self, path: Path, columns: Sequence[str]) -> pd.DataFrame:
        """Return the whole rows of a CSV; rows that are damaged are named and left out."""
        empty = pd.DataFrame(columns=list(columns))
        if not path.exists():
            return empty
        try:
            table, fault = parsed(path.read_bytes())
            missing = [name for name in columns if name not in table]
            if missing:
                raise ValueError(f"no column '{missing[0]}'")
            for name in set(columns) - set(TEXT):
                table[name] = pd.to_numeric(table[name])
        except (OSError, ValueError, csv.Error) as error:  # pandas' own errors are ValueErrors
            fault, table = first_line(error), empty
        if fault:
            self._left_out(path, fault)
        return table

    def _npz(self, path: Path) -> Arrays:
        if not self.arrays or not path.exists():
            return {}
        try:
            return read_arrays(path)
        except (OSError, ValueError) as error:
            self._left_out(path, first_line(error))
            return {}

    def _per_image(self, path: Path, evaluations: pd.DataFrame) -> Arrays:
        """Return the estimates of single images, without those that differ from their row."""
        arrays, known = dict(self._npz(path)), with_later_columns(evaluations)
        for row in known.to_dict("records"):
            named = {str(name): value for name, value in row.items()}
            if all(name in named for name in KEY):
                name = key_of(named).array_name()
                same = known[ARRAY_KEY] == pd.Series({n: row[n] for n in ARRAY_KEY})
                last = known[same.all(axis=1)]
                if name in arrays and not agrees(dict(last.iloc[-1]), arrays[name]):
                    del arrays[name]
                    self._left_out(path, f"{name} does not agree with eval.csv; evaluate again")
        return arrays

    def _pictures(self, path: Path, environment: Mapping[str, Any]) -> Arrays:
        arrays = dict(self._npz(path))
        drawn, own = str(arrays.pop("parameters", "")), environment.get("parameters")
        if drawn and own and drawn != own:
            self._left_out(path, "pictures of another model than this run's")
            return {}
        return arrays


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
