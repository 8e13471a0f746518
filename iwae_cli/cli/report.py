"""`iwae report`: make tables, plots and a page of runs."""

import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from iwae_cli.cli.options import as_json, sources_to_read
from iwae_cli.cli.output import fail_if_unreadable, line_width, print_json, print_table

if TYPE_CHECKING:
    from iwae_cli.reports.report import Report


@click.command()
@sources_to_read
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to write.  [default: report in the first SOURCE's folder]",
)
@click.option(
    "--format",
    "formats",
    type=click.Choice(["png", "pdf", "svg"]),
    multiple=True,
    default=("png", "pdf"),
    help="Of the figures' files; may be repeated.",
)
@click.option(
    "--column", is_flag=True, help="Figures for one column of a paper: 3.3 inches, 8 points."
)
@click.option(
    "--missing", is_flag=True, help="Also list what has no number, of the paper's tables too."
)
@as_json
def report(
    sources: Sequence[Path],
    output: Path | None,
    formats: Sequence[str],
    column: bool,
    missing: bool,
    as_json: bool,
) -> None:
    r"""Make tables, figures and a page of all runs in SOURCE.

    A SOURCE is a folder that holds runs, by default outputs, a single run, or a runs.csv
    that this command wrote, on this machine or another; such a table has no estimates of
    single images, so no paired differences and no pictures of its runs. Of several evaluations
    of one run with the same settings the newest counts. Writes the results of every data set,
    objective and k, with the paper's numbers beside them where it has that data set
    and architecture; paired differences; the paper's other claims; all runs; each as
    CSV, Markdown and LaTeX, with figures, and report.html, which shows everything.

    \b
    Examples:
      iwae report
      iwae report --format pdf --column
      iwae report --missing
      iwae report outputs/paper --output /tmp/report
      iwae report outputs monday/runs.csv tuesday/runs.csv
    """
    from iwae_cli.core.progress import counted
    from iwae_cli.reports.figures.style import COLUMN, PAGE
    from iwae_cli.reports.report import report_of, write

    made = report_of(*sources)
    output = output or beside(sources[0])
    style = COLUMN if column else PAGE
    files = write(made, output, formats=formats, style=style, made=made_by(), missing=missing)
    if as_json:
        print_json({"files": [str(path) for path in files], **report_as_json(made)})
    else:
        print_report(made, missing=missing)
        runs = counted(len(made.runs), "run")
        click.echo(f"{runs}; all tables and figures: {output / 'report.html'}")
    fail_if_unreadable(made.unreadable)


def beside(source: Path) -> Path:
    """Return where the report of a folder or a runs.csv is written unless --output says so."""
    return (source if source.is_dir() else source.parent) / "report"


def made_by() -> str:
    """Return when and by which command this is made, as a sentence."""
    command = shlex.join(["iwae", *sys.argv[1:]])
    return f"Made on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by: {command}."


def print_report(made: "Report", *, missing: bool) -> None:
    """Print the tables, and what is missing or how many runs have no number."""
    from iwae_cli.core.progress import counted

    for name, tables in made.tables().items():
        if name == "objectives":  # their pairs are printed
            continue
        for table in tables:
            rows = table.plain().to_dict("records")
            print_table(rows, {key: str(key) for key in rows[0]}, title=table.title)
            click.echo(click.wrap_text(table.note, min(line_width(), 100)) + "\n")
    for line in made.duplicates:
        click.echo(f"more than once: {line}")
    for line in made.unpaired:
        click.echo(f"no pair: {line}")
    if missing:
        for line in made.missing:
            click.echo(f"missing: {line}")
    elif waiting := int((made.scores["status"] != "").sum()):
        click.echo(
            f"{counted(waiting, 'run')} without a test NLL of all images: --missing lists them"
        )


def report_as_json(made: "Report") -> dict[str, Any]:
    """Return a report as JSON types."""
    return {
        "runs": len(made.runs),
        **{name: frame.to_dict("records") for name, frame in made.frames().items()},
        "missing": list(made.missing),
        "unpaired": list(made.unpaired),
        "duplicates": list(made.duplicates),
        "unreadable": [{"file": str(f), "reason": reason} for f, reason in made.unreadable],
    }
