"""The commands that read run folders: report and runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from iwae_cli import terminal
from iwae_cli.core.errors import ReportError, UsageError
from iwae_cli.options import as_json

if TYPE_CHECKING:
    from iwae_cli.reports.read_runs import RunRecord, Unreadable
    from iwae_cli.reports.report import Report

FOLDER = click.Path(file_okay=False, path_type=Path)
LISTED = {"run": "run", "state": "state", "data": "data", "objective": "objective", "k": "k"}
LISTED |= {"seed": "seed", "progress": "passes", "nll": "NLL", "eval_k": "by k"}
LISTED |= {"parent": "started from"}


def existing(_: click.Context, __: click.Parameter, folder: Path) -> Path:
    """Return a folder that is there."""
    if not folder.exists():
        raise UsageError(
            f"there is no folder '{folder}'; train a run with 'iwae train', or name the folder "
            "that holds runs"
        )
    return folder


folder_to_read = click.argument("folder", type=FOLDER, default="outputs", callback=existing)


@click.command()
@folder_to_read
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to write.  [default: FOLDER/report]",
)
@as_json
def report(folder: Path, output: Path | None, as_json: bool) -> None:
    r"""Make tables, plots and a page of all runs below FOLDER.

    Writes the paper's Tables 1 to 3 with the published numbers beside ours, paired
    differences, all runs as CSV, figures, and report.html, which holds everything.

    \b
    Examples:
      iwae report
      iwae report outputs/paper --output /tmp/report
    """
    from iwae_cli.reports.report import report_of, write

    made = report_of(folder)
    output = output or folder / "report"
    files = write(made, output)
    if as_json:
        terminal.print_json({"files": [str(path) for path in files], **report_as_json(made)})
    else:
        print_report(made)
        click.echo(f"{len(made.runs)} runs; all tables and figures: {output / 'report.html'}")
    fail_if_unreadable(made.unreadable)


@click.command()
@folder_to_read
@as_json
def runs(folder: Path, as_json: bool) -> None:
    r"""List the runs below FOLDER with their state.

    A run is finished, running, failed or interrupted; the last two go on with the
    same `iwae train` command. NLL is that of all test images by the largest k.

    \b
    Examples:
      iwae runs
      iwae runs outputs/paper --json
    """
    from iwae_cli.reports.read_runs import read_runs

    found, unreadable = read_runs(folder, arrays=False)
    rows = listed(found) if found else []
    if as_json:
        terminal.print_json(rows)
    elif rows:
        terminal.print_table(rows, LISTED)
    fail_if_unreadable(unreadable)


def listed(found: Sequence["RunRecord"]) -> list[dict[str, Any]]:
    """Return what `iwae runs` tells of each run, as JSON types."""
    from iwae_cli.reports.run_tables import scores_table

    names = ("run", "folder", "state", "data", "architecture", "objective", "k", "seed", "passes")
    rows = []
    for run, score in zip(found, scores_table(found).to_dict("records"), strict=True):
        evaluated = score["eval_k"] == score["eval_k"]  # not NaN
        rows.append(
            {name: score[name] for name in names}
            | {
                "parent": score["parent"] or None,
                "total_passes": run.total_passes,
                "progress": f"{run.passes}/{run.total_passes or '?'}",
                "nll": score["eval_nll"] if evaluated else None,
                "eval_k": int(score["eval_k"]) if evaluated else None,
            }
        )
    return rows


def print_report(made: "Report") -> None:
    """Print the tables that have a number of ours, and what is missing."""
    from iwae_cli.reports import formatting, paired_differences

    for number, protocols in made.layouts.items():
        if not made.cells[number]["seeds"].any():
            continue
        for protocol, table in protocols.items():
            for data, part in formatting.by_data(number, table).items():
                rows = formatting.flat(part).to_dict("records")
                headings = {name: name for name in rows[0]}
                title = formatting.title(number, data, protocol)
                terminal.print_table(rows, headings, title=title)
    if len(made.differences):
        shown = {name: name for name in paired_differences.SHOWN}
        rows = made.differences.to_dict("records")
        terminal.print_table(rows, shown, title=paired_differences.TITLE)
    for line in made.missing:
        click.echo(f"missing: {line}")


def report_as_json(made: "Report") -> dict[str, Any]:
    """Return a report as JSON types."""
    return {
        "runs": len(made.runs),
        **{f"table{n}": cells.to_dict("records") for n, cells in made.cells.items()},
        "differences": made.differences.to_dict("records"),
        "missing": list(made.missing),
        "unreadable": [{"file": str(f), "reason": reason} for f, reason in made.unreadable],
    }


def fail_if_unreadable(unreadable: Sequence["Unreadable"]) -> None:
    """Name each file that could not be read on stderr.

    Raises:
        ReportError: There is one.
    """
    for path, reason in unreadable:
        click.echo(f"not read: {path}: {reason}", err=True)
    if unreadable:
        files = "1 file" if len(unreadable) == 1 else f"{len(unreadable)} files"
        raise ReportError(f"{files} could not be read; the rest is above")
