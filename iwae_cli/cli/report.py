"""`iwae report`: make tables, plots and a page of runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from iwae_cli.cli.options import as_json
from iwae_cli.cli.output import fail_if_unreadable, print_json, print_table
from iwae_cli.core.errors import UsageError

if TYPE_CHECKING:
    from iwae_cli.reports.report import Report


def all_there(_: click.Context, __: click.Parameter, given: Sequence[Path]) -> Sequence[Path]:
    """Return folders and files that are there, the default one without any."""
    sources = given or [Path("outputs")]
    for path in sources:
        if not path.exists():
            raise UsageError(
                f"there is no '{path}'; train a run with 'iwae train', or name a folder that "
                "holds runs or a runs.csv"
            )
    return sources


@click.command()
@click.argument(
    "sources", type=click.Path(path_type=Path), nargs=-1, metavar="[SOURCE]...", callback=all_there
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to write.  [default: report in the first SOURCE's folder]",
)
@as_json
def report(sources: Sequence[Path], output: Path | None, as_json: bool) -> None:
    r"""Make tables, plots and a page of all runs in SOURCE.

    A SOURCE is a folder that holds runs, by default outputs, or a runs.csv that this
    command wrote, on this machine or another. Of several evaluations of one run with
    the same settings the newest counts. Writes the paper's Tables 1 to 3 with the
    published numbers beside ours, its other claims beside what was found, paired
    differences, all runs as CSV, figures, and report.html, which holds everything.

    \b
    Examples:
      iwae report
      iwae report outputs/paper --output /tmp/report
      iwae report outputs monday/runs.csv tuesday/runs.csv
    """
    from iwae_cli.reports.report import report_of, write

    made = report_of(*sources)
    first = sources[0]
    output = output or (first if first.is_dir() else first.parent) / "report"
    files = write(made, output)
    if as_json:
        print_json({"files": [str(path) for path in files], **report_as_json(made)})
    else:
        print_report(made)
        click.echo(f"{len(made.runs)} runs; all tables and figures: {output / 'report.html'}")
    fail_if_unreadable(made.unreadable)


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
                print_table(rows, headings, title=title)
    if len(made.differences):
        shown = {name: name for name in paired_differences.SHOWN}
        rows = made.differences.to_dict("records")
        print_table(rows, shown, title=paired_differences.TITLE)
    for claim, own in formatting.claims_shown(made.claims).items():
        print_table(own.to_dict("records"), {name: name for name in own}, title=f"Claim: {claim}")
    for line in made.duplicates:
        click.echo(f"more than once: {line}")
    for line in made.missing:
        click.echo(f"missing: {line}")


def report_as_json(made: "Report") -> dict[str, Any]:
    """Return a report as JSON types."""
    return {
        "runs": len(made.runs),
        **{f"table{n}": cells.to_dict("records") for n, cells in made.cells.items()},
        "differences": made.differences.to_dict("records"),
        "claims": made.claims.to_dict("records"),
        "missing": list(made.missing),
        "duplicates": list(made.duplicates),
        "unreadable": [{"file": str(f), "reason": reason} for f, reason in made.unreadable],
    }
