"""Signal-to-noise ratio and bias of gradients over k, from a finished gradients.csv."""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from iwae_cli.reports.figures.style import COLOURS, logarithmic_k, save_png

NETWORKS = ("encoder", "decoder")
# A bias is called one where chance gives a statistic as large once in a hundred such points.
CHANCE = 0.01


def gradient_figure(table: pd.DataFrame) -> Figure:
    """Return a panel a network of the SNR against k, and below it of the bias against iwae.

    Args:
        table: gradients.csv of one run. A point of the lower panels is filled where `bias_p` is
            below CHANCE. An SNR of zero, which noise hides, is not drawn.
    """
    figure = Figure(figsize=(9, 6.4), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True, sharey="row")
    table = table.assign(snr=table["snr"].where(table["snr"] > 0))
    names = list(dict.fromkeys(table["objective"]))
    for column, network in enumerate(NETWORKS):
        for name, colour in zip(names, COLOURS * len(names), strict=False):
            own = table[(table["objective"] == name) & (table["network"] == network)]
            width = 3.5 - 2.5 * names.index(name) / len(names)  # equal lines stay visible
            style = {"color": colour, "linewidth": width, "markersize": width + 2}
            panels[0][column].plot(own["k"], own["snr"], "o-", label=name, **style)
            draw_bias(panels[1][column], own.dropna(subset="bias_norm"), colour)
        panels[0][column].set_title(network, fontsize=10)
        panels[0][column].set_yscale("log")
        panels[0][column].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panels[0][column].yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        panels[0][column].yaxis.set_minor_locator(NullLocator())
        for panel in (panels[0][column], panels[1][column]):
            logarithmic_k(panel, sorted(set(table["k"])))
        panels[0][column].set_xlabel("")
        panels[1][column].set_xlabel("k (samples per image)")
    panels[1][0].set_ylim(bottom=-0.2)
    panels[0][0].set_ylabel("signal-to-noise ratio\n(median over parameters)")
    panels[1][0].set_ylabel(f"|t| of the difference to iwae\n(filled: p < {CHANCE})")
    figure.legend(
        *panels[0][0].get_legend_handles_labels(),
        loc="outside upper center",
        ncols=min(len(names), 6),
        frameon=False,
        fontsize=9,
    )
    return figure


def draw_bias(panel: Axes, own: pd.DataFrame, colour: str) -> None:
    """Draw the largest paired t-statistics of one estimator, filled where chance is unlikely."""
    panel.plot(own["k"], own["bias_t"], "-", color=colour, linewidth=1)
    for biased, part in own.groupby(own["bias_p"] < CHANCE):
        face = colour if biased else "white"
        panel.plot(part["k"], part["bias_t"], "o", color=colour, markerfacecolor=face, markersize=5)


def write_gradient_plot(csv: Path) -> Path:
    """Draw a gradients.csv into the run's `plots` and return the picture's path."""
    path = csv.parent / "plots" / "gradients.png"
    save_png(gradient_figure(pd.read_csv(csv)), path)
    return path
