"""Objectives trained alike, as bars."""

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from iwae_cli.reports.figures.style import COLOURS
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


def comparison_figure(table: pd.DataFrame) -> Figure:
    """Return bars of the gain over iwae, the active units and the seconds, an objective a row.

    Args:
        table: One group of `comparison_table`.
    """
    own = table.iloc[::-1]
    figure = Figure(figsize=(10, 1.2 + 0.34 * len(own)), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True, width_ratios=(3, 1.2, 1.2))
    panels[0].barh(own["objective"], own["gain"], xerr=2 * own["se"], color=COLOURS[0], capsize=3)
    panels[0].axvline(0, color="black", linewidth=0.8)
    sizes = own["gain"].abs().sort_values()
    reach = BEYOND * float(sizes.iloc[-2])
    if sizes.iloc[-1] > reach > 0:
        cut_bars(panels[0], own, reach)
    panels[0].set_xlabel("nats per image better than iwae (bars: two standard errors)")
    panels[1].barh(own["objective"], own["active"].map(total_active), color=COLOURS[1])
    panels[1].set_xlabel("active units")
    panels[2].barh(own["objective"], own["seconds"], color=COLOURS[2])
    panels[2].set_xlabel("seconds of training")
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
    return figure
