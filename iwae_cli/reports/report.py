"""A report: runs of folders and tables turned into tables, figures and a page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from iwae_cli.core.atomic_write import write_atomically
from iwae_cli.core.errors import ReportError
from iwae_cli.core.progress import ProgressReport
from iwae_cli.core.version import __version__
from iwae_cli.reports import page
from iwae_cli.reports.claims import claim_tables, claims_table
from iwae_cli.reports.collect import collect
from iwae_cli.reports.figures.catalogue import drawings
from iwae_cli.reports.figures.style import PAGE, Style, image
from iwae_cli.reports.formatting import Table, latex, markdown
from iwae_cli.reports.layouts import result_tables, stage_tables
from iwae_cli.reports.objective_comparison import comparison_table, comparison_tables
from iwae_cli.reports.paired_differences import paired_differences
from iwae_cli.reports.pairs import pair_tables, pairs_over_seeds
from iwae_cli.reports.read_runs import Unreadable
from iwae_cli.reports.results import missing, result_cells, stage_cells
from iwae_cli.reports.run_record import RunRecord
from iwae_cli.reports.run_tables import runs_table, scores_table
from iwae_cli.reports.seeds import NO_RUN

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
        cells: `results.result_cells`.
        stages: `results.stage_cells`.
        differences: `paired_differences.paired_differences`, a row a seed.
        pairs: `pairs.pairs_over_seeds`.
        compared: `objective_comparison.comparison_table`.
        claims: `claims.claims_table`.
        missing: A line for each group of cells without a number.
        duplicates: A line for each run with an evaluation that several sources have.
        unreadable: Files that were left out.
    """

    runs: Sequence[RunRecord]
    scores: pd.DataFrame
    cells: pd.DataFrame
    stages: pd.DataFrame
    differences: pd.DataFrame
    pairs: pd.DataFrame
    compared: pd.DataFrame
    claims: pd.DataFrame
    missing: Sequence[str]
    duplicates: Sequence[str]
    unreadable: Sequence[Unreadable]

    def tables(self) -> Mapping[str, Sequence[Table]]:
        """Return the tables as they are shown, by the name of the files that they are in."""
        return {
            "results": result_tables(self.cells),
            "stages": stage_tables(self.stages),
            "pairs": pair_tables(self.pairs),
            "objectives": comparison_tables(self.compared),
            "claims": claim_tables(self.claims),
        }

    def frames(self) -> Mapping[str, pd.DataFrame]:
        """Return what the CSV files hold, by their names."""
        return {
            "results": self.cells[self.cells["status"] != NO_RUN],
            "stages": self.stages,
            "pairs": self.pairs,
            "objectives": self.compared,
            "claims": self.claims,
            "differences": self.differences,
        }


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
    cells, stages = result_cells(scores), stage_cells(scores)
    differences = paired_differences(runs)
    return Report(
        runs=runs,
        scores=scores,
        cells=cells,
        stages=stages,
        differences=differences,
        pairs=pairs_over_seeds(differences),
        compared=comparison_table(runs, differences),
        claims=claims_table(runs, scores, cells),
        missing=missing(cells, stages),
        duplicates=collection.duplicates,
        unreadable=collection.unreadable,
    )


def write(
    report: Report,
    output: Path,
    *,
    formats: Sequence[str] = ("png", "pdf"),
    style: Style = PAGE,
) -> list[Path]:
    """Write a report's tables, figures and page into a folder; return all files written.

    Args:
        report: What to write.
        output: The folder.
        formats: Of each figure's files: png, pdf, svg.
        style: How large figures and their text are.
    """
    files, pictures = [], []
    (output / "figures").mkdir(parents=True, exist_ok=True)
    for name, text in texts(report):
        files.append(written(output / name, text.encode()))
    plan = drawings(report.runs, report.scores, report.cells, report.compared)
    with style.applied(), ProgressReport("figures", total=len(plan)) as progress:
        for done, drawing in enumerate(plan, start=1):
            figure = drawing.draw(style)
            if figure is None:
                continue
            for kind in formats:
                path = output / "figures" / f"{drawing.name}.{kind}"
                files.append(written(path, image(figure, kind)))
            pictures.append(page.Picture(drawing.section, drawing.title, image(figure, "png")))
            progress.update(done, f"figure {done} of {len(plan)}")
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
    for name, frame in report.frames().items():
        if len(frame):
            yield f"{name}.csv", frame.to_csv(index=False)
    for name, tables in report.tables().items():
        if tables:
            yield f"{name}.md", markdown(tables)
            yield f"{name}.tex", latex(tables)


def page_of(report: Report, pictures: Sequence[page.Picture]) -> page.Page:
    """Return the page of a report."""
    shown = {name: own for name, own in report.tables().items() if name != "objectives"}
    tables = [page.shown(table) for own in shown.values() for table in own]
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
        missing=report.duplicates,
        unreadable=[f"{path}: {reason}" for path, reason in report.unreadable],
        pictures=pictures,
    )
