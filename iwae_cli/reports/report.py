"""A report: runs of folders and tables turned into tables, figures and a page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from iwae_cli.core.atomic_write import write_atomically
from iwae_cli.core.errors import ReportError
from iwae_cli.core.version import __version__
from iwae_cli.reports import formatting, objective_comparison, page, paired_differences
from iwae_cli.reports.claims import claims_table
from iwae_cli.reports.collect import collect
from iwae_cli.reports.figures.catalogue import drawings
from iwae_cli.reports.figures.style import pdf, png
from iwae_cli.reports.paper_tables import TABLES, cells_of, missing
from iwae_cli.reports.read_runs import Unreadable
from iwae_cli.reports.run_record import RunRecord
from iwae_cli.reports.run_tables import runs_table, scores_table

# Columns of the page's list of runs: key and heading
RUN_COLUMNS = {
    "run": "run",
    "state": "state",
    "data": "data",
    "architecture": "latents",
    "objective": "objective",
    "k": "k",
    "seed": "seed",
    "passes": "passes",
    "eval_nll": "test NLL",
    "eval_k": "by k",
    "eval_images": "images",
    "eval_se_images": "se (images)",
    "eval_se_mc": "se (MC)",
    "active": "active",
    "training_seconds": "seconds",
    "hardware": "hardware",
    "commit": "commit",
    "protocol": "protocol",
    "parent": "started from",
}


@dataclass(frozen=True)
class Report:
    """What runs came to.

    Attributes:
        runs: All that could be read.
        scores: `run_tables.scores_table` of them.
        cells: The cells of Tables 1, 2 and 3.
        layouts: The tables as in the paper, by protocol, as `formatting.laid_out` makes them.
        differences: `paired_differences.paired_differences`.
        compared: `objective_comparison.comparison_table`.
        claims: `claims.claims_table`.
        missing: A line for each group of cells without a number.
        duplicates: A line for each run with an evaluation that several sources have.
        unreadable: Files that were left out.
    """

    runs: Sequence[RunRecord]
    scores: pd.DataFrame
    cells: Mapping[int, pd.DataFrame]
    layouts: Mapping[int, Mapping[str, pd.DataFrame]]
    differences: pd.DataFrame
    compared: pd.DataFrame
    claims: pd.DataFrame
    missing: Sequence[str]
    duplicates: Sequence[str]
    unreadable: Sequence[Unreadable]


def report_of(*sources: Path) -> Report:
    """Return the report of every run in or below folders, and in runs.csv files of reports.

    Nothing is written.

    Raises:
        ReportError: There is no run that can be read.
    """
    collection = collect(sources, arrays=True)
    runs = collection.runs
    if not runs:
        places = ", ".join(map(str, sources))
        reasons = "; ".join(f"{path}: {reason}" for path, reason in collection.unreadable)
        raise ReportError(f"no run in or below {places} could be read: {reasons}")
    scores = scores_table(runs)
    cells = {number: cells_of(number, scores) for number in TABLES}
    paired = paired_differences.paired_differences(runs)
    return Report(
        runs=runs,
        scores=scores,
        cells=cells,
        layouts={number: formatting.laid_out(number, cells[number]) for number in TABLES},
        differences=paired,
        compared=objective_comparison.comparison_table(runs, paired),
        claims=claims_table(runs, scores, cells),
        missing=[line for number in TABLES for line in missing(number, cells[number])],
        duplicates=collection.duplicates,
        unreadable=collection.unreadable,
    )


def write(report: Report, output: Path) -> list[Path]:
    """Write a report's tables, figures and page into a folder; return all files written."""
    files, pictures = [], []
    (output / "figures").mkdir(parents=True, exist_ok=True)
    for name, text in texts(report):
        files.append(written(output / name, text.encode()))
    for drawing in drawings(report.runs, report.scores, report.cells, report.compared):
        path = output / "figures" / drawing.name
        image = png(drawing.figure)
        files.append(written(path.with_name(f"{path.name}.png"), image))
        files.append(written(path.with_name(f"{path.name}.pdf"), pdf(drawing.figure)))
        pictures.append(page.Picture(drawing.section, drawing.title, image))
    html = page.render(page_of(report, pictures))
    files.append(written(output / "report.html", html.encode()))
    return files


def written(path: Path, content: bytes) -> Path:
    """Write a file and return its path."""
    write_atomically(path, content)
    return path


def texts(report: Report) -> Iterator[tuple[str, str]]:
    """Yield the name and content of every CSV, Markdown and LaTeX file of a report."""
    yield "runs.csv", runs_table(report.runs).to_csv(index=False)
    yield "differences.csv", report.differences.to_csv(index=False)
    yield "differences.md", report.differences.to_markdown(index=False) + "\n"
    if len(report.compared):
        yield "objectives.csv", report.compared.to_csv(index=False)
        yield "objectives.md", report.compared.to_markdown(index=False) + "\n"
    if len(report.claims):
        yield "claims.csv", report.claims.to_csv(index=False)
        yield "claims.md", formatting.claims_markdown(report.claims)
        yield "claims.tex", formatting.claims_latex(report.claims)
    for number in TABLES:
        yield f"table{number}.csv", report.cells[number].to_csv(index=False)
        yield f"table{number}.md", formatting.markdown(number, report.layouts[number])
        yield f"table{number}.tex", formatting.latex(number, report.layouts[number])


def page_of(report: Report, pictures: Sequence[page.Picture]) -> page.Page:
    """Return the page of a report."""
    tables = []
    for number, protocols in report.layouts.items():
        for protocol, table in protocols.items():
            for data, part in formatting.by_data(number, table).items():
                title = formatting.title(number, data, protocol)
                tables.append(page.table_of(title, formatting.flat(part)))
    for claim, own in formatting.claims_shown(report.claims).items():
        tables.append(page.table_of(f"Claim: {claim}", own))
    if len(report.compared):
        tables.append(
            page.table_of(objective_comparison.TITLE, report.compared.drop(columns="run"))
        )
    if len(report.differences):
        tables.append(
            page.table_of(paired_differences.TITLE, report.differences[paired_differences.SHOWN])
        )
    scores = report.scores
    commits = [(commit or "")[:8] for commit in scores["commit"]]
    runs = scores.assign(commit=commits)[list(RUN_COLUMNS)]
    for column in ("eval_k", "eval_images"):
        runs[column] = runs[column].astype("Int64").astype(object)
    runs["training_seconds"] = runs["training_seconds"].round().astype(int)
    tables.append(page.table_of("Runs", runs.rename(columns=RUN_COLUMNS)))
    return page.Page(
        title="Importance weighted autoencoders: report",
        lead=f"{len(report.runs)} runs, read by iwae {__version__}. A click on a heading sorts.",
        tables=tables,
        note=formatting.NOTE,
        missing=[*report.missing, *report.duplicates],
        unreadable=[f"{path}: {reason}" for path, reason in report.unreadable],
        pictures=pictures,
    )
