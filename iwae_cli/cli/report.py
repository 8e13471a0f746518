"""`iwae report`: make tables, plots and a page of runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from iwae_cli.cli.options import as_json, folder_to_read
from iwae_cli.cli.output import fail_if_unreadable, print_json, print_table

if TYPE_CHECKING:
    from iwae_cli.reports.report import Report


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
