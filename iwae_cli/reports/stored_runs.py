"""Runs read back from a runs.csv that a report wrote."""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import pandas as pd

from iwae_cli.core.config import Config
from iwae_cli.core.errors import ReportError
from iwae_cli.reports.held_to import config_fault
from iwae_cli.reports.read_runs import ACTIVE_UNITS, METRICS
from iwae_cli.reports.run_record import RunRecord
from iwae_cli.runs.eval_csv import COLUMNS, KEY, with_later_columns
from iwae_cli.runs.folder import RunFolder
from iwae_cli.runs.state import State

# Columns without which a CSV is none of a report's
NEEDED = ("run", "folder", "state", "passes", "training_seconds", "environment.data.hash")
NODES = ("arch", "dataset", "objective", "optimizer", "likelihood", "then", "init_from")
# Last parts of the names of columns with whole numbers; versions before 0.3 wrote some as 120.0
WHOLE = {"passes", "stages", "batch_size", "groups", "order", "k", "seed", "valid", "test"}
WHOLE |= {"train", "threads", "validate_passes", "total_passes", "format"}

Cells = Mapping[str, str]


def stored_runs(path: Path) -> list[RunRecord]:
    """Return the runs of a runs.csv, in its order; without pictures and single images' estimates.

    Raises:
        ReportError: It is no such file.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise ReportError(f"{path}: {str(error).splitlines()[0]}") from None
    missing = [name for name in NEEDED if name not in table]
    if missing:
        raise ReportError(f"{path}: no runs.csv of iwae report: no column '{missing[0]}'")
    return [record_of(rows, path) for _, rows in table.groupby("folder", sort=False)]


def record_of(rows: pd.DataFrame, source: Path) -> RunRecord:
    """Return the run that some rows, texts, are of: one for each of its evaluations."""
    cells = cast(Cells, rows.iloc[0].to_dict())
    config = config_of(cells)
    if fault := config_fault(config):
        raise ReportError(f"{source}: run {cells['run']}: {fault}")
    environment = nested(
        {k.removeprefix("environment."): v for k, v in cells.items() if k[:12] == "environment."},
        config=False,
    )
    return RunRecord(
        folder=RunFolder(Path(cells["folder"])),
        config=config,
        environment={"identity": cells.get("identity"), **environment},
        metrics=metrics_of(cells, k=config["k"]),
        evaluations=evaluations_of(rows),
        active_units=units_of(rows, config["arch"]["latents"]),
        removal=numbers(of_prefix(rows.iloc[:1], "removal.")),
        per_image={},
        pictures={},
        source=source,
        recorded_state=cast(State, cells["state"]),
    )


def config_of(cells: Cells) -> dict[str, Any]:
    """Return the config in a row: the columns named after its keys, dotted ones nested."""
    known = {f.name for f in fields(Config)}
    own = {key: v for key, v in cells.items() if key.partition(".")[0] in known and v != ""}
    return nested({key: v for key, v in own.items() if key not in NODES}, config=True)


def nested(cells: Cells, *, config: bool) -> dict[str, Any]:
    """Return cells with dotted keys as nested mappings; empty cells are left out.

    Args:
        cells: Texts.
        config: Whether every cell is a value of a config; else whole numbers alone are read.
    """
    result: dict[str, Any] = {}
    for key, text in cells.items():
        if text == "":
            continue
        *nodes, name = key.split(".")
        node = result
        for one in nodes:
            node = node.setdefault(one, {})
        node[name] = value_of(name, text) if config or name in WHOLE else text
    return result


def value_of(name: str, text: str) -> Any:  # noqa: ANN401  (any plain type)
    """Return the value of a config's key that a cell shows."""
    if text in ("True", "False"):
        return text == "True"
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return int(value) if name in WHOLE and isinstance(value, float) else value


def of_prefix(rows: pd.DataFrame, prefix: str) -> pd.DataFrame:
    """Return the columns that begin with a prefix, without it."""
    own = rows[[name for name in rows if name.startswith(prefix)]]
    return own.rename(columns=lambda name: name.removeprefix(prefix)).reset_index(drop=True)


def numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Return rows of texts that are not empty, with columns of numbers as numbers."""
    own = table[(table != "").any(axis=1)] if len(table.columns) else table.iloc[:0]
    own = own.where(own != "", None)
    for name in own:
        try:
            own = own.assign(**{str(name): pd.to_numeric(own[name])})
        except (ValueError, TypeError):
            continue  # a column of texts
    return own


def evaluations_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of eval.csv."""
    table = numbers(of_prefix(rows, "eval."))
    if not len(table):
        return pd.DataFrame(columns=list(dict.fromkeys([*COLUMNS, *KEY])))
    whole = {name: "int64" for name in ("passes", "steps", "images", "seed", "k")}
    return with_later_columns(table.astype(whole))


def metrics_of(cells: Cells, *, k: int) -> pd.DataFrame:
    """Return metrics.csv with the last pass alone, and the seconds of all in it."""
    passes = int(float(cells["passes"]))
    if not passes:
        return pd.DataFrame(columns=list(METRICS))
    row: dict[str, Any] = {"pass": passes, "k": k, "learning_rate": float("nan")}
    for name in ("train_bound", "valid_bound"):
        row[name] = float(cells.get(name) or "nan")
    return pd.DataFrame([{**row, "seconds": float(cells["training_seconds"])}])


def units_of(rows: pd.DataFrame, latents: list[int]) -> pd.DataFrame:
    """Return active_units.csv without variances: as many active units a layer as were counted."""
    counted = rows[rows["active.units"] != ""] if "active.units" in rows else rows.iloc[:0]
    if not len(counted):
        return pd.DataFrame(columns=list(ACTIVE_UNITS))
    last = counted.iloc[-1]
    counts = [int(float(count)) for count in last["active.units"].split("+")]
    settings = numbers(of_prefix(counted.iloc[-1:], "active.")).drop(columns="units")
    about = settings.iloc[0].to_dict() if len(settings) else {}
    passes = int(float(last.get("eval.passes") or last["passes"]))
    return pd.DataFrame(
        [
            {"layer": layer, "unit": unit + 1, "variance": float("nan"), "active": unit < count}
            | {"passes": passes, **about}
            for layer, (size, count) in enumerate(zip(latents, counts, strict=True), start=1)
            for unit in range(size)
        ]
    )
