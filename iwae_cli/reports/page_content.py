"""What the page of a report shows: its tables with links, the runs, the pictures."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from iwae_cli.core.version import __version__
from iwae_cli.reports import formatting, page
from iwae_cli.reports.labels import objective_label

if TYPE_CHECKING:
    from iwae_cli.reports.report import Report

# Headings of the tables; those of `objectives` are a figure, their numbers are in its files
SECTIONS = {
    "results": "Results",
    "stages": "Second stages",
    "pairs": "Paired differences",
    "claims": "The paper's claims",
}
KINDS = ("csv", "md", "tex")
# Columns of the page's list of runs: key and heading. What a run came to is in Results.
RUN_COLUMNS = {
    "run": "run",
    "state": "state",
    "data": "data",
    "architecture": "latents",
    "objective": "objective",
    "k": "k",
    "seed": "seed",
    "passes": "passes",
    "training_seconds": "seconds of training",
    "protocol": "training",
    "parent": "started from",
    "hardware": "hardware",
    "commit": "commit",
}
# These stay columns where all runs have the same
ALWAYS = ("run", "state", "objective", "k", "seed", "training_seconds")


def page_of(
    report: "Report",
    pictures: Sequence[page.Picture],
    *,
    output: Path = Path(),
    made: str = "",
    missing: bool = False,
) -> page.Page:
    """Return the page of a report.

    Args:
        report: What runs came to.
        pictures: All, in their order.
        output: The folder of the page, from which links to run folders lead.
        made: When and by which command, as a sentence.
        missing: Whether to list what has no number.
    """
    tables = report.tables()
    sections = [
        page.Section(title, [page.shown(table) for table in tables[name]], files_of(name, tables))
        for name, title in SECTIONS.items()
        if tables[name]
    ]
    runs = page.Section("Runs", [runs_of(report.scores, output)], ["runs.csv"])
    count = len(report.runs)
    return page.Page(
        title="Importance weighted autoencoders: report",
        lead=f"{count} run{'' if count == 1 else 's'}, read by iwae {__version__}.",
        made=made,
        sections=[*sections, runs],
        missing=report.missing if missing else (),
        duplicates=report.duplicates,
        unreadable=[f"{path}: {reason}" for path, reason in report.unreadable],
        pictures=pictures,
    )


def files_of(name: str, tables: Mapping[str, Sequence[formatting.Table]]) -> list[str]:
    """Return the files that hold a section's tables, or what the pairs are made of."""
    own = [f"{name}.{kind}" for kind in KINDS]
    if name != "pairs":
        return own
    objectives = [f"objectives.{kind}" for kind in KINDS if tables["objectives"]]
    return [*own, "differences.csv", *objectives]


def runs_of(scores: pd.DataFrame, output: Path) -> page.Table:
    """Return the list of runs; what all of them have in common is in the note."""
    commits = [(commit or "")[:8] for commit in scores["commit"]]
    runs = scores.assign(commit=commits, objective=scores["objective"].map(objective_label))
    runs["training_seconds"] = runs["training_seconds"].round().astype(int)
    one = [
        name
        for name in RUN_COLUMNS
        if name not in ALWAYS and len(runs) > 1 and runs[name].nunique(dropna=False) == 1
    ]
    told = [f"{RUN_COLUMNS[name]} {runs[name].iloc[0]}" for name in one if runs[name].iloc[0]]
    runs["run"] = [
        page.link(name, os.path.relpath(folder, output)) if Path(folder).is_dir() else name
        for name, folder in zip(scores["run"], scores["folder"], strict=True)
    ]
    kept = {key: name for key, name in RUN_COLUMNS.items() if key not in one}
    frame = runs[list(kept)].rename(columns=kept).astype(object)
    note = "Every evaluation of every run, with its whole configuration, is in runs.csv."
    if told:
        note = f"All runs: {', '.join(told)}. {note}"
    return page.table_of("", frame, note)
