"""Objectives trained alike, as bars."""

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from iwae_cli.reports.figures.style import PAGE, Style, look
from iwae_cli.reports.labels import objective_label
from iwae_cli.reports.seeds import total_active

# A bar is cut if it is so many times longer than the next.
BEYOND = 3


def cut_bars(panel: Axes, own: pd.DataFrame, reach: float) -> None:
    """Show bars up to `reach`, and write its value on one that is longer."""
    low, high = panel.get_xlim()
    panel.set_xlim(max(low, -reach), min(high, reach))
    for place, gain in enumerate(own["gain"]):
        if abs(gain) > reach:
            style: dict[str, Any] = {"va": "center", "color": "white"}
            style["ha"] = "left" if gain < 0 else "right"
            panel.text(math.copysign(0.97 * reach, gain), place, f"{gain:+.1f}", **style)


def comparison_figure(table: pd.DataFrame, style: Style = PAGE) -> Figure:
    """Return bars of the gain over iwae, the active units and the seconds, an objective a row.

    Args:
        table: One group of `comparison_table`; of one seed the gain's bars are two standard errors
            over images, of several its 95 % interval over seeds.
        style: Of the figure; in one column there is the gain alone.
    """
    own = table.iloc[::-1]
    names = [objective_label(name) for name in own["objective"]]
    colours = [look(name).colour for name in own["objective"]]
    wide = style.columns > 1
    height = 0.14 * style.points / 10 * (9 + 2.4 * len(own))
    size = (10.0 if wide else style.panel[0], height)
    figure = Figure(figsize=size, layout="constrained")
    ratios = (2.4, 1.2, 1.2) if wide else (1,)
    panels = figure.subplots(1, len(ratios), sharey=True, width_ratios=ratios, squeeze=False)[0]
    errors = (2 * own["se"]).where(own["n"] == 1, own["high"] - own["gain"])
    panels[0].barh(names, own["gain"], xerr=errors.fillna(0.0), color=colours)
    panels[0].axvline(0, color="black", linewidth=0.8)
    sizes = own["gain"].abs().sort_values()
    reach = BEYOND * float(sizes.iloc[-2])
    if sizes.iloc[-1] > reach > 0:
        cut_bars(panels[0], own, reach)
    bars = "95 % interval over seeds" if (own["n"] > 1).any() else "two standard errors over images"
    panels[0].set_xlabel(f"nats per image better than IWAE\n(bars: {bars})")
    if wide:
        spread = own["active_sd"].fillna(0.0)
        errors = spread if (spread > 0).any() else None
        panels[1].barh(names, own["active"].map(total_active), xerr=errors, color=colours)
        panels[1].set_xlabel("active units")
        panels[2].barh(names, own["seconds"], color=colours)
        panels[2].set_xlabel("seconds of training")
    for panel in panels:
        panel.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    return figure
