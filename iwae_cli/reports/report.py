"""A report: runs of folders and tables turned into tables, figures and a page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from iwae_cli.core.atomic_write import remove_leftovers, write_atomically
from iwae_cli.core.errors import ReportError
from iwae_cli.core.progress import ProgressReport
from iwae_cli.reports import page
from iwae_cli.reports.claims import claim_tables, claims_table
from iwae_cli.reports.collect import collect
from iwae_cli.reports.figures.catalogue import drawings
from iwae_cli.reports.figures.style import PAGE, Style, image, preview
from iwae_cli.reports.formatting import Table, latex, markdown
from iwae_cli.reports.layouts import result_tables, stage_tables
from iwae_cli.reports.objective_comparison import comparison_table, comparison_tables
from iwae_cli.reports.page_content import page_of
from iwae_cli.reports.paired_differences import paired_differences
from iwae_cli.reports.pairs import pair_tables, pairs_over_seeds, unpaired_seeds
from iwae_cli.reports.read_runs import Unreadable
from iwae_cli.reports.results import missing, result_cells, stage_cells
from iwae_cli.reports.run_record import RunRecord
from iwae_cli.reports.run_tables import runs_table, scores_table
from iwae_cli.reports.seeds import NO_RUN
from iwae_cli.runs.lock import held

# Width in pixels of the small pictures in the page: of several runs, of one
SHARED_PIXELS, RUN_PIXELS = 640, 360


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
        unpaired: A line for each setting whose objectives have different seeds.
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
    unpaired: Sequence[str]
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
        unpaired=unpaired_seeds(scores),
        duplicates=collection.duplicates,
        unreadable=collection.unreadable,
    )


def write(
    report: Report,
    output: Path,
    *,
    formats: Sequence[str] = ("png", "pdf"),
    style: Style = PAGE,
    made: str = "",
    missing: bool = False,
) -> list[Path]:
    """Write a report's tables, figures and page into a folder; return all files written.

    Args:
        report: What to write.
        output: The folder.
        formats: Of each figure's files: png, pdf, svg.
        style: How large figures and their text are.
        made: When and by which command, for the page.
        missing: Whether the page lists what has no number.
    """
    output.mkdir(parents=True, exist_ok=True)
    with held(output / ".lock", wait=True):
        return written_files(report, output, formats, style, made=made, missing=missing)


def written_files(
    report: Report,
    output: Path,
    formats: Sequence[str],
    style: Style,
    *,
    made: str,
    missing: bool,
) -> list[Path]:
    """Write a report's files into a folder that this process holds; see `write`."""
    files = [written(output / name, text.encode()) for name, text in texts(report)]
    pictures = []
    plan = drawings(report.runs, report.scores, report.cells, report.compared)
    with style.applied(), ProgressReport("figures", total=len(plan)) as progress:
        for done, drawing in enumerate(plan, start=1):
            figure = drawing.draw(style)
            if figure is None:
                continue
            own = {kind: f"figures/{drawing.name}.{kind}" for kind in formats}
            files += [written(output / own[kind], image(figure, kind)) for kind in formats]
            small = preview(figure, RUN_PIXELS if drawing.run else SHARED_PIXELS)
            pictures.append(
                page.Picture(drawing.section, drawing.title, small, own, run=drawing.run)
            )
            progress.update(done, f"figure {done} of {len(plan)}")
    html = page.render(page_of(report, pictures, output=output, made=made, missing=missing))
    return [*files, written(output / "report.html", html.encode())]


def written(path: Path, content: bytes) -> Path:
    """Write a file, and the folder it belongs in, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
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
