"""NLL and active units against k: each function turns cells of the results into a Figure."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from iwae_cli.reports.figures.style import GREY, PAGE, Style, legend_above, logarithmic_k, look
from iwae_cli.reports.labels import objective_label
from iwae_cli.reports.published import objective_order
from iwae_cli.reports.seeds import total_active

# Points of one k stand beside each other by this factor
ASIDE = 1.05


def nll_against_k(cells: pd.DataFrame, style: Style = PAGE) -> Figure | None:
    """Return test NLL against k, a panel for each architecture, with the paper's points.

    Bars are the standard deviation over seeds or, of one seed, the standard error over images.
    Estimates by L_k of different k cannot be compared: those by the most common k are drawn.

    Args:
        cells: `results.result_cells` of one data set and protocol.
        style: Of the figure.

    Returns:
        None where no architecture has two k.
    """
    by = cells.loc[cells["nll"].notna(), "eval_k"].mode()
    own = cells.assign(
        value=cells["nll"].where(cells["eval_k"].isin(by[-1:])),
        error=cells["sd"].where(cells["seeds"] > 1, cells["se_images"]),
        paper=cells["paper_nll"],
    )
    return panels_against_k(own, "test NLL (nats per image)", style)


def active_against_k(cells: pd.DataFrame, style: Style = PAGE) -> Figure | None:
    """Return the active units of all layers together against k, a panel for each architecture.

    Args:
        cells: As `nll_against_k` takes; bars are the standard deviation over seeds.
        style: Of the figure.
    """
    own = cells.assign(
        value=cells["active"].map(total_active),
        error=cells["active_sd"],
        paper=cells["paper_active"].map(total_active),
    )
    figure = panels_against_k(own, "active units", style)
    for panel in figure.axes if figure else ():
        panel.yaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    return figure


def panels_against_k(cells: pd.DataFrame, label: str, style: Style) -> Figure | None:
    """Return `value` with `error` against k, a line an objective, a panel an architecture."""
    known = cells[cells["value"].notna()]
    several = known.groupby(["layers", "architecture"])["k"].nunique()
    places = [place for place, ks in several.items() if ks > 1]
    if not places:
        return None
    figure, panels = style.panels(len(places))
    handles: dict[str, Line2D] = {}
    for panel, (layers, architecture) in zip(panels, places, strict=True):
        own = cells[cells["architecture"] == architecture]
        handles |= draw_lines(panel, own)
        of = "layer" if layers == 1 else "layers"
        if len(places) > 1:
            panel.set_title(f"{layers} stochastic {of} ({architecture})")
        logarithmic_k(panel, sorted(set(own.loc[own["value"].notna(), "k"])))
        panel.set_ylabel(label)
    papers = {"paper": Line2D([], [], **hollow(GREY, "o"))}
    shown = any(cells.loc[cells["architecture"] == a, "paper"].notna().any() for _, a in places)
    legend_above(figure, labelled(handles | (papers if shown else {})))
    return figure


def draw_lines(panel: Axes, cells: pd.DataFrame) -> Mapping[str, Line2D]:
    """Draw the lines of one architecture and return one line of each objective by its label."""
    names = sorted(set(cells.loc[cells["value"].notna(), "objective"]), key=objective_order)
    handles: dict[str, Line2D] = {}
    reach = set(cells.loc[cells["value"].notna(), "k"])
    for place, name in enumerate(names):
        line = cells[cells["objective"] == name].sort_values("k")
        ours = line[line["value"].notna()]
        colour, marker = look(name)
        aside = ASIDE ** (place - (len(names) - 1) / 2)
        errors = ours["error"].fillna(0.0)
        style: dict[str, Any] = {"color": colour, "marker": marker}
        panel.errorbar(ours["k"] * aside, ours["value"], yerr=errors, **style)
        theirs = line[line["paper"].notna() & line["k"].isin(reach)]
        if len(theirs):
            panel.plot(theirs["k"] * aside, theirs["paper"], **hollow(colour, marker))
        handles[objective_label(name)] = Line2D([], [], **style)
    return handles


def hollow(colour: str, marker: str) -> dict[str, Any]:
    """Return how the paper's points look."""
    return {"color": colour, "marker": marker, "markerfacecolor": "white", "linestyle": ":"}


def labelled(handles: Mapping[str, Line2D]) -> Sequence[Line2D]:
    """Return lines that bear their labels."""
    for label, handle in handles.items():
        handle.set_label(label)
    return list(handles.values())
