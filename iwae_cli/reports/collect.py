"""Runs of several folders and tables as one collection, every run once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from iwae_cli.core.errors import ReportError
from iwae_cli.reports.read_runs import RunReader, Unreadable
from iwae_cli.reports.run_record import RunRecord
from iwae_cli.reports.stored_runs import stored_runs
from iwae_cli.runs.eval_csv import KEY, key_of


@dataclass(frozen=True)
class Collection:
    """What several sources hold.

    Attributes:
        runs: Each once.
        duplicates: A line for each run with an evaluation that more than one source has.
        unreadable: Files that were left out.
    """

    runs: Sequence[RunRecord]
    duplicates: Sequence[str]
    unreadable: Sequence[Unreadable]


def collect(sources: Sequence[Path], *, arrays: bool, some: bool = True) -> Collection:
    """Return the runs in or below folders, and those of runs.csv files that reports wrote.

    Args:
        sources: Folders and files.
        arrays: Whether to read the arrays of folders too.
        some: Whether there must be a run.

    Raises:
        ReportError: There must be one, and there is no trace of any.
    """
    reader, found = RunReader(arrays=arrays), list[RunRecord]()
    for source in sources:
        if source.is_dir():
            found += reader.runs(source)
            continue
        try:
            found += stored_runs(source)
        except ReportError as error:
            reader.unreadable.append(Unreadable(source, str(error).partition(": ")[2]))
    if some and not found and not reader.unreadable:
        places = ", ".join(map(str, sources))
        raise ReportError(
            f"no run in or below {places}; train one with 'iwae train', or name a folder that "
            "holds runs"
        )
    groups: dict[tuple[str, object], list[RunRecord]] = {}
    for run in found:
        groups.setdefault((run.name, run.environment.get("identity")), []).append(run)
    merged = [one_of(alike) for alike in groups.values()]
    return Collection([run for run, _ in merged], [d for _, d in merged if d], reader.unreadable)


def one_of(alike: Sequence[RunRecord]) -> tuple[RunRecord, str]:
    """Return one run for several records of it, and a line if they have a common evaluation.

    Of the evaluations with one key it has the newest; all else is that of the record with the most
    passes, of these a folder's, of these the one named last.
    """
    if len(alike) == 1:
        return alike[0], ""
    order = sorted(alike, key=lambda run: (run.passes, run.source is None))
    base = order[-1]
    tables = [
        run.evaluations.assign(source=number, evaluated=times_of(run.evaluations))
        for number, run in enumerate(order)
        if len(run.evaluations)
    ]
    if not tables:
        return base, ""
    table = pd.concat(tables).sort_values(["evaluated", "source"], kind="stable")
    newest = table.drop_duplicates(KEY, keep="last").sort_values(KEY)
    own = newest[newest["source"] == len(order) - 1].to_dict("records")
    names = {key_of({str(name): value for name, value in row.items()}).array_name() for row in own}
    units = [run.active_units for run in reversed(order) if len(run.active_units)]
    removals = [run.removal for run in reversed(order) if len(run.removal)]
    run = replace(
        base,
        evaluations=newest.drop(columns="source"),
        per_image={name: array for name, array in base.per_image.items() if name in names},
        active_units=units[0] if units else base.active_units,
        removal=removals[0] if removals else base.removal,
    )
    duplicates = len(table) - len(newest)
    if not duplicates:
        return run, ""
    places = ", ".join(str(one.source or one.folder.path) for one in alike)
    what = "1 evaluation" if duplicates == 1 else f"{duplicates} evaluations"
    return run, f"{base.name}: {what} more than once, the newest is used: {places}"


def times_of(evaluations: pd.DataFrame) -> pd.Series:
    """Return when each row was evaluated, an empty text where that was not written."""
    if "evaluated" not in evaluations:
        return pd.Series("", index=evaluations.index)
    return evaluations["evaluated"].astype(object).fillna("").astype(str)
