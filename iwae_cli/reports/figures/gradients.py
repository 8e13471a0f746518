"""Signal-to-noise ratio and bias of gradients over k, from a finished gradients.csv."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from iwae_cli.reports.figures.style import (
    PAGE,
    Style,
    legend_above,
    logarithmic_k,
    look,
    plain_decades,
    save_png,
)
from iwae_cli.reports.labels import objective_label

NETWORKS = ("encoder", "decoder")
# A bias is called one where chance gives a statistic as large once in a hundred such points.
CHANCE = 0.01
# Lines that coincide stay visible by their widths
WIDEST, THINNEST = 3.5, 1.0
# A bias below this share of the gradient is what rounding makes
ROUNDING = 1e-4
NOTHING = "Every objective here has IWAE's\ngradient of the decoder:\nno difference to show."


def gradient_figure(table: pd.DataFrame, style: Style = PAGE) -> Figure:
    """Return a panel a network of the SNR against k, and below it of the bias against iwae.

    Args:
        table: gradients.csv of one run. A point of the lower panels is filled where `bias_p` is
            below CHANCE. An SNR of zero, which noise hides, is not drawn. A network whose gradient
            is that of iwae for every objective has a sentence in place of its lower panel.
        style: Of the figure; in one column the panels are below each other.
    """
    table = table.assign(snr=table["snr"].where(table["snr"] > 0))
    names = list(dict.fromkeys(table["objective"]))
    ks = sorted(set(table["k"]))
    width, height = style.panel
    columns = min(2, style.columns)
    figure = Figure(figsize=(columns * width, 4 / columns * height), layout="constrained")
    shape = (2, 2) if columns == 2 else (4, 1)
    panels: Sequence[Axes] = list(figure.subplots(*shape).flat)
    order = (0, 2, 1, 3) if columns == 2 else (0, 1, 2, 3)
    for index, network in enumerate(NETWORKS):
        ratio, bias = panels[order[2 * index]], panels[order[2 * index + 1]]
        own = table[table["network"] == network]
        draw_ratio(ratio, own, names)
        ratio.set_title(network)
        for panel in (ratio, bias):
            logarithmic_k(panel, ks)
            panel.set_xlabel("k (samples per image)")
        draw_biases(bias, own, names)
    legend_above(figure, legend_lines(names))
    return figure


def draw_ratio(panel: Axes, own: pd.DataFrame, names: Sequence[str]) -> None:
    """Draw the SNR of each objective, on a logarithmic axis with round ticks."""
    for place, name in enumerate(names):
        line = own[own["objective"] == name]
        colour, marker = look(name)
        width = WIDEST - (WIDEST - THINNEST) * place / max(1, len(names) - 1)
        size = width + 3
        panel.plot(
            line["k"], line["snr"], color=colour, marker=marker, linewidth=width, markersize=size
        )
    panel.set_yscale("log")
    plain_decades(panel, "y", subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0))
    panel.set_ylabel("signal-to-noise ratio\n(median over parameters)")


def draw_biases(panel: Axes, own: pd.DataFrame, names: Sequence[str]) -> None:
    """Draw the largest paired t-statistics, filled where chance is unlikely, or a sentence."""
    known = own.dropna(subset="bias_norm")
    if not (known["bias_norm"] > ROUNDING * known["mean_norm"]).any():
        panel.set_axis_off()
        panel.text(0.5, 0.5, NOTHING, transform=panel.transAxes, ha="center", va="center")
        return
    for name in names:
        line = known[known["objective"] == name]
        colour, marker = look(name)
        panel.plot(line["k"], line["bias_t"], color=colour, linewidth=1)
        for biased, part in line.groupby(line["bias_p"] < CHANCE):
            face = colour if biased else "white"
            points: dict[str, Any] = {"color": colour, "marker": marker, "markerfacecolor": face}
            panel.plot(part["k"], part["bias_t"], linestyle="none", **points)
    panel.set_ylim(bottom=0)
    panel.margins(y=0.1)
    panel.set_ylabel(f"|t| of the difference to IWAE\n(filled: p < {CHANCE})")


def legend_lines(names: Sequence[str]) -> list[Line2D]:
    """Return a line of each objective."""
    looks = {name: look(name) for name in names}
    return [
        Line2D([], [], color=one.colour, marker=one.marker, label=objective_label(name))
        for name, one in looks.items()
    ]


def write_gradient_plot(csv: Path) -> Path:
    """Draw a gradients.csv into the run's `plots` and return the picture's path."""
    path = csv.parent / "plots" / "gradients.png"
    with PAGE.applied():
        save_png(gradient_figure(pd.read_csv(csv)), path)
    return path
