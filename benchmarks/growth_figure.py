"""Time and memory against k, from a growth.csv."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from iwae_cli.reports.figures.style import BLUE, ORANGE, PAGE, legend_above, plain_decades

LABELS = {"step": "training step, 20 images", "evaluation": "evaluation, 1 image"}
LINES = {
    "step": {"marker": "o", "linestyle": "-"},
    "evaluation": {"marker": "s", "linestyle": "--"},
}
COLOURS = {"float32": BLUE, "bfloat16": ORANGE}
AXES = {"seconds": ("milliseconds", 1e3), "bytes": ("memory above the start (MiB)", 2.0**-20)}


def growth_figure(table: pd.DataFrame) -> Figure:
    """Return time and peak memory against k.

    Args:
        table: what, k, precision, seconds, bytes.
    """
    figure, panels = PAGE.panels(2)
    handles = []
    for (what, precision), own in table.groupby(["what", "precision"], sort=False):
        style = {**LINES[what], "color": COLOURS[precision]}
        for panel, (column, (_, scale)) in zip(panels, AXES.items(), strict=True):
            panel.plot(own["k"], own[column] * scale, **style)
        handles.append(Line2D([], [], label=f"{LABELS[what]}, {precision}", **style))
    for panel, (label, _) in zip(panels, AXES.values(), strict=True):
        panel.set_xscale("log")
        panel.set_yscale("log")
        plain_decades(panel, "x")
        panel.set_xlabel("k (samples per image)")
        panel.set_ylabel(label)
    plain_decades(panels[0], "y")
    plain_decades(panels[1], "y", subs=(1.0, 1.5, 2.0, 3.0, 5.0))
    legend_above(figure, handles)
    return figure
