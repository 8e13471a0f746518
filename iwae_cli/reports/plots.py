"""Pictures: each function turns a finished table into a Figure."""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from iwae_cli.checkpoint import write_atomically

COLOURS = ("#2f5d8a", "#c0623a", "#5a8a4b", "#7a5a8a")
SMALLEST_VARIANCE = 1e-8
DPI = 150
GRID_PIXELS = 840  # a grid of images is about that wide


def activity_histogram(table: pd.DataFrame) -> Figure:
    """Return the histogram of log10 A_u, a panel for each stochastic layer, with the threshold.

    Args:
        table: active_units.csv of one run: layer, unit, variance, threshold, active.
    """
    layers = sorted(table["layer"].unique())
    figure = Figure(figsize=(1.5 + 4 * len(layers), 3.4), layout="constrained")
    panels = figure.subplots(1, len(layers), squeeze=False)[0]
    exponents = np.log10(table["variance"].clip(lower=SMALLEST_VARIANCE))
    threshold = float(np.log10(table["threshold"].iloc[0]))
    low, high = min(exponents.min(), threshold - 1), max(exponents.max(), 0.5)
    edges = threshold + 0.25 * np.arange(
        np.floor((low - threshold) / 0.25), np.ceil((high - threshold) / 0.25) + 1
    )
    for panel, layer, colour in zip(panels, layers, COLOURS * len(layers), strict=False):
        own = table["layer"] == layer
        panel.hist(exponents[own], bins=edges, color=colour, edgecolor="white", linewidth=0.5)
        panel.axvline(threshold, color="black", linewidth=1, linestyle="--")
        active = int(table["active"][own].sum())
        panel.set_title(f"layer {layer}: {active} of {own.sum()} active", fontsize=10)
        panel.set_xlabel(r"$\log_{10} A_u$")
        panel.yaxis.get_major_locator().set_params(integer=True)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("latent units")
    return figure


def image_grid(images: NDArray[np.floating[Any]]) -> Figure:
    """Return a grid of grey images, black at 0 and white at 1, about as high as it is wide.

    Each image pixel is a square of whole pixels of a figure that is saved with `save_png`.

    Args:
        images: In [0, 1], [N, H, W], shown row by row.
    """
    count, height, width = images.shape
    columns = min(count, math.ceil(math.sqrt(count * height / width)))
    rows = math.ceil(count / columns)
    scale = max(1, GRID_PIXELS // (columns * width))
    gap = max(2, scale * width // 20)
    high, wide = scale * height + gap, scale * width + gap
    canvas = np.ones((rows * high + gap, columns * wide + gap))
    for index, image in enumerate(images):
        top, left = gap + index // columns * high, gap + index % columns * wide
        tile = np.kron(image, np.ones((scale, scale)))
        canvas[top : top + scale * height, left : left + scale * width] = tile
    figure = Figure(figsize=(canvas.shape[1] / DPI, canvas.shape[0] / DPI), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(canvas, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    return figure


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, and the folder it belongs in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    write_atomically(path, buffer.getvalue())


def write_activity_histogram(csv: Path) -> Path:
    """Draw the histogram of an active_units.csv into the run's `plots` and return its path."""
    path = csv.parent / "plots" / "active_units.png"
    save_png(activity_histogram(pd.read_csv(csv)), path)
    return path
