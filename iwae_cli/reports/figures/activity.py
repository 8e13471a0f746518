"""The histogram of the activity of latent units."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from iwae_cli.reports.figures.style import PAGE, Style, save_png

SMALLEST_VARIANCE = 1e-8
ACTIVE, INACTIVE = "#444444", "#bbbbbb"
BIN = 0.25


def activity_histogram(table: pd.DataFrame, style: Style = PAGE) -> Figure:
    """Return the histogram of log10 A_u, a panel for each stochastic layer, with the threshold.

    Args:
        table: active_units.csv of one run: layer, unit, variance, threshold, active.
        style: Of the figure.
    """
    layers = sorted(table["layer"].unique())
    figure, panels = style.panels(len(layers))
    exponents = np.log10(table["variance"].clip(lower=SMALLEST_VARIANCE))
    threshold = float(np.log10(table["threshold"].iloc[0]))
    low, high = min(exponents.min(), threshold - 1), max(exponents.max(), 0.5)
    first, last = np.floor((low - threshold) / BIN), np.ceil((high - threshold) / BIN)
    edges = (threshold + BIN * np.arange(first, last + 1)).tolist()
    for panel, layer in zip(panels, layers, strict=True):
        own = table["layer"] == layer
        active = own & table["active"].astype(bool)
        both = [exponents[active], exponents[own & ~active]]
        colours = [ACTIVE, INACTIVE]
        counts, _, _ = panel.hist(
            both, bins=edges, stacked=True, color=colours, edgecolor="white", linewidth=0.5
        )
        top = max(1.0, float(np.max(counts)))
        panel.set_ylim(0, 1.22 * top)
        panel.axvline(threshold, ymax=0.9, color="black", linewidth=1, linestyle="--")
        panel.text(
            threshold,
            1.12 * top,
            f"threshold {10**threshold:g}",
            ha="center",
            va="bottom",
        )
        which = f"layer {layer}: " if len(layers) > 1 else ""
        panel.set_title(f"{which}{active.sum()} of {own.sum()} units active")
        panel.set_xlabel(r"$\log_{10} A_u$")
        panel.set_ylabel("latent units")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, steps=[1, 2, 5, 10]))
    return figure


def write_activity_histogram(csv: Path) -> Path:
    """Draw the histogram of an active_units.csv into the run's `plots` and return its path."""
    path = csv.parent / "plots" / f"{csv.stem}.png"
    with PAGE.applied():
        save_png(activity_histogram(pd.read_csv(csv)), path)
    return path
