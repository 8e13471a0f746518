"""Figures: one look an objective, errors where there are any, nothing hidden, nothing blank."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from matplotlib.collections import PolyCollection
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from run_folders import command, run_of

from iwae_cli import objectives
from iwae_cli.reports.figures import images
from iwae_cli.reports.figures.activity import activity_histogram
from iwae_cli.reports.figures.against_k import active_against_k, nll_against_k
from iwae_cli.reports.figures.catalogue import drawings
from iwae_cli.reports.figures.gradients import NOTHING, gradient_figure
from iwae_cli.reports.figures.style import COLUMN, PAGE, STYLES, Style, image, look, preview
from iwae_cli.reports.figures.training import Curve, training_curves
from iwae_cli.reports.report import RUN_PIXELS, report_of

PAPER = ROOT / "outputs" / "paper"


def cells_of(*names: str) -> pd.DataFrame:
    return report_of(*(PAPER / name / "runs.csv" for name in names)).cells


def bars_of(figure: Figure) -> list[ErrorbarContainer]:
    held = [one for panel in figure.axes for one in panel.containers]
    return [one for one in held if isinstance(one, ErrorbarContainer)]


def curves(*, grows: bool) -> list[Curve]:
    """Return two objectives of two seeds each."""

    def metrics(seed: int, last: int) -> pd.DataFrame:
        ks = [2, 2, last, last] if grows else [last] * 4
        bounds = [-90.0 - seed, -88.0, -87.0, -86.0]
        valid = [np.nan, -89.0, np.nan, -86.5]
        rows = {"pass": [1, 2, 3, 4], "k": ks, "train_bound": bounds, "valid_bound": valid}
        return pd.DataFrame(rows)

    return [
        Curve(name, k, [metrics(seed, k) for seed in (0, 1)])
        for name, k in (("iwae", 5), ("dreg", 50))
    ]


def test_objectives_have_looks_of_their_own_that_never_change() -> None:
    names = objectives.names()
    assert len({look(name) for name in names}) == len(names)
    assert look("a_new_one") == look("a_new_one")
    assert look("ciwae(beta=0.5)").colour == look("ciwae").colour
    assert look("ciwae(beta=0.5)") != look("ciwae(beta=0.9)")


def test_points_have_the_error_of_their_cells_and_the_papers_are_hollow() -> None:
    cells = cells_of("mnist")
    figure = nll_against_k(cells)
    assert figure
    own = cells[(cells["objective"] == "vae") & cells["nll"].notna()].sort_values("k")
    bar = bars_of(figure)[0]
    (segments,) = (lines.get_segments() for lines in bar.lines[2])
    half = [(segment[1, 1] - segment[0, 1]) / 2 for segment in segments]
    assert half == pytest.approx(own["se_images"].tolist())
    seeds = nll_against_k(cells.assign(seeds=3, sd=0.5, se_images=9.0))
    assert seeds
    (segments,) = (lines.get_segments() for lines in bars_of(seeds)[0].lines[2])
    assert (segments[0][1, 1] - segments[0][0, 1]) / 2 == pytest.approx(0.5)
    faces = [line.get_markerfacecolor() for line in figure.axes[0].lines]
    assert faces.count("white") == 2
    ticks = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert ticks == ["1", "5", "50"]


def test_an_objective_has_the_same_look_in_every_figure() -> None:
    figure = nll_against_k(cells_of("mnist"))
    assert figure
    ours = {bar.lines[0].get_color() for bar in bars_of(figure)}
    assert ours == {look("vae").colour, look("iwae").colour}
    panel = training_curves(curves(grows=False)).axes[0]
    assert {look("iwae").colour, look("dreg").colour} <= {line.get_color() for line in panel.lines}


@pytest.mark.parametrize("draw", [nll_against_k, active_against_k])
def test_a_single_k_is_no_figure_against_k(draw: Any) -> None:
    cells = cells_of("objectives")
    assert draw(cells) is None
    cells = cells_of("mnist")
    assert draw(cells[cells["k"] == 50]) is None


@pytest.mark.parametrize("style", STYLES.values(), ids=list(STYLES))
def test_legends_are_outside_of_the_panels(style: Style) -> None:
    with style.applied():
        drawn = [
            nll_against_k(cells_of("mnist"), style),
            training_curves(curves(grows=True), style),
        ]
        drawn.append(gradient_figure(pd.read_csv(PAPER / "gradients" / "gradients.csv"), style))
        for figure in drawn:
            assert figure
            (legend,) = figure.legends
            assert image(figure, "png"), "drawing places the legend"
            box = legend.get_window_extent()
            shown = [panel for panel in figure.axes if panel.axison]
            assert not any(box.overlaps(panel.get_window_extent()) for panel in shown)
            assert box.x0 >= 0
            assert box.x1 <= figure.bbox.x1


def test_a_column_of_a_paper_is_narrow() -> None:
    wide, narrow = (nll_against_k(cells_of("mnist"), style) for style in (PAGE, COLUMN))
    assert wide
    assert narrow
    assert narrow.get_figwidth() == pytest.approx(3.3)
    assert wide.get_figwidth() > narrow.get_figwidth()


def test_seeds_are_a_mean_and_a_band() -> None:
    panel = training_curves(curves(grows=False)).axes[0]
    line = next(line for line in panel.lines if len(np.asarray(line.get_xdata())) == 4)
    assert np.asarray(line.get_ydata())[0] == pytest.approx(90.5)
    bands = [held for held in panel.collections if isinstance(held, PolyCollection)]
    assert len(bands) == 2
    spread = np.asarray(bands[0].get_paths()[0].vertices)[:, 1]
    assert spread.max() == pytest.approx(90.5 + np.std([90, 91], ddof=1))


def test_the_growth_of_k_is_drawn_where_it_grows() -> None:
    assert len(training_curves(curves(grows=False)).axes) == 1
    _, below = training_curves(curves(grows=True)).axes
    assert {tuple(np.asarray(line.get_ydata())) for line in below.lines} == {
        (2, 2, 5, 5),
        (2, 2, 50, 50),
    }
    assert [label.get_text() for label in below.get_yticklabels()] == ["2", "5", "50"]


def test_line_styles_tell_k_apart() -> None:
    one, other = training_curves(curves(grows=True)).axes[1].lines
    assert one.get_linestyle() != other.get_linestyle()


def pictures() -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    made = {name: rng.random((13, 8, 8)) for name in ("originals", "reconstructions")}
    return made | {
        f"{which}_layer_weights": rng.normal(size=(7, 8, 8)) for which in ("first", "last")
    }


def test_rows_and_weights_are_labelled() -> None:
    for panel in images.reconstructions(pictures()).axes:
        labels = [label.get_text() for label in panel.get_yticklabels()]
        assert labels == ["image", "reconstruction"]
    *_, bar = images.weights(pictures()).axes
    assert bar.get_ylabel() == "weight / largest of its unit"


@pytest.mark.parametrize("count", range(1, 14))
def test_samples_leave_no_third_of_the_figure_blank(count: int) -> None:
    figure = images.samples_side_by_side({str(n): np.zeros((4, 8, 8)) for n in range(count)})
    blank = [panel for panel in figure.axes if not panel.images]
    assert len(figure.axes) - len(blank) == count
    assert len(blank) * 3 < len(figure.axes)


def test_the_small_pictures_of_fourteen_runs_leave_a_page_below_a_megabyte_and_a_half() -> None:
    rng = np.random.default_rng(0)  # noise, which no format makes smaller
    own = {name: rng.random((20, 28, 28)) for name in ("originals", "reconstructions")}
    own |= {f"{which}_layer_weights": rng.normal(size=(200, 28, 28)) for which in ("first", "last")}
    rows = {"layer": 1, "unit": range(50), "variance": np.linspace(1e-5, 1, 50), "active": True}
    with PAGE.applied():
        drawn = [images.reconstructions(own), images.weights(own)]
        drawn.append(activity_histogram(pd.DataFrame({**rows, "threshold": 0.01})))
        sizes = [len(preview(figure, RUN_PIXELS)) for figure in drawn]
    assert 14 * sum(sizes) * 4 / 3 < 1.2e6, "the rest is for the figures of several runs"


def test_the_threshold_is_labelled() -> None:
    rows = {"layer": 1, "unit": [1, 2], "variance": [1.0, 1e-4], "threshold": 0.02}
    figure = activity_histogram(pd.DataFrame({**rows, "active": [True, False]}))
    assert [text.get_text() for text in figure.axes[0].texts] == ["threshold 0.02"]
    assert figure.axes[0].get_title() == "1 of 2 units active"


def test_an_empty_panel_is_a_sentence() -> None:
    table = pd.read_csv(PAPER / "gradients" / "gradients.csv")
    panels = gradient_figure(table).axes
    assert [text.get_text() for panel in panels for text in panel.texts] == [NOTHING]
    assert sum(panel.axison for panel in panels) == 3


def test_all_figures_of_a_report_can_be_drawn_in_one_column(outputs: Path) -> None:
    report = report_of(outputs)
    plan = drawings(report.runs, report.scores, report.cells, report.compared)
    assert {drawing.section for drawing in plan} >= {"Against k"}
    assert any(drawing.run == run_of(outputs, "iwae", 2).name for drawing in plan)
    with COLUMN.applied():
        widths = [figure.get_figwidth() for one in plan if (figure := one.draw(COLUMN))]
    assert widths
    assert max(widths) <= 3.4


def test_the_command_writes_the_formats_that_are_asked_for(outputs: Path, tmp_path: Path) -> None:
    done = command("report", "--format", "svg", "--column", "--output", "new", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    made = {path.suffix for path in (tmp_path / "new" / "figures").iterdir()}
    assert made == {".svg"}
    assert command("report", "--format", "gif", cwd=tmp_path).returncode == 2
