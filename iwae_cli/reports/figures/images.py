"""Pictures of images: each function turns arrays of a pictures.npz into a Figure."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from iwae_cli.reports.figures.style import DPI
from iwae_cli.reports.run_record import Arrays

Images = NDArray[Any]

GREY = 0.5
COLUMNS = 10


def mosaic(images: Images, *, columns: int = COLUMNS, background: float) -> Images:
    """Return images [n, H, W] side by side in rows, a line of `background` between them."""
    n, height, width = images.shape
    columns = max(1, min(columns, n))
    rows = -(-n // columns)
    canvas = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), background, np.float64)
    for index, image in enumerate(images):
        top, left = index // columns * (height + 1), index % columns * (width + 1)
        canvas[top : top + height, left : left + width] = image
    return canvas


def draw_grey(panel: Axes, picture: Images, title: str) -> None:
    """Show a picture with 0 as black and 1 as white, pixel by pixel."""
    panel.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    panel.set_title(title, fontsize=10)
    panel.set_axis_off()


def draw_signed(panel: Axes, images: Images, title: str) -> None:
    """Show images [n, H, W] of weights, each scaled to its own largest, red above 0, blue below."""
    largest = np.abs(images).max(axis=(1, 2), keepdims=True)
    scaled = images / np.where(largest > 0, largest, 1)
    grid = mosaic(scaled, columns=round((2 * len(images)) ** 0.5), background=np.nan)
    panel.imshow(grid, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    panel.set_title(title, fontsize=10)
    panel.set_axis_off()


def samples_side_by_side(samples: Mapping[str, Images]) -> Figure:
    """Return samples as Bernoulli means, a panel for each model.

    Args:
        samples: [n, H, W] in [0, 1] by the model's name.
    """
    figure = Figure(figsize=(0.2 + 3.6 * len(samples), 3.9), layout="constrained")
    panels = figure.subplots(1, len(samples), squeeze=False)[0]
    for panel, (name, images) in zip(panels, samples.items(), strict=True):
        draw_grey(panel, mosaic(images, background=GREY), name)
    return figure


def reconstructions(pictures: Arrays) -> Figure:
    """Return images above the Bernoulli means that the model makes of them."""
    originals, made = pictures["originals"], pictures["reconstructions"]
    rows = []
    for first in range(0, len(originals), COLUMNS):
        part = slice(first, first + COLUMNS)
        both = np.concatenate([padded(originals[part]), padded(made[part])])
        rows.append(mosaic(both, background=GREY))
    gap = np.ones((3, rows[0].shape[1]))
    canvas = np.concatenate([piece for row in rows for piece in (row, gap)][:-1])
    height, width = canvas.shape
    figure = Figure(figsize=(6, 0.4 + 6 * height / width), layout="constrained")
    draw_grey(figure.subplots(), canvas, "images, and what the model makes of them below")
    return figure


def padded(images: Images) -> Images:
    """Return images [n, H, W] with white ones added up to a whole row."""
    lacking = max(0, COLUMNS - len(images))
    return np.concatenate([images, np.ones((lacking, *images.shape[1:]))])


def weights(pictures: Arrays) -> Figure:
    """Return the weights from the pixels to the first layer, and from the last to the pixels."""
    panels = {
        "first layer: pixels to hidden units": pictures["first_layer_weights"],
        "last layer: hidden units to pixels": pictures["last_layer_weights"],
    }
    figure = Figure(figsize=(9, 4), layout="constrained")
    for panel, (title, images) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        draw_signed(panel, images, title)
    return figure


def posteriors(pictures: Arrays) -> Figure:
    """Return the true posterior beside the recognition density for images of a 2-D latent model.

    A column an image; rows: the image, p(h | x), q(h | x). Each density has its own scale, and
    both of an image show the same part of the plane.
    """
    images, axes = pictures["posterior_x"], pictures["posterior_axes"]
    true, recognition = pictures["true_posterior"], pictures["recognition"]
    figure = Figure(figsize=(1.6 * len(images), 4.8), layout="constrained")
    panels = figure.subplots(3, len(images), squeeze=False)
    for column, (image, (first, second)) in enumerate(zip(images, axes, strict=True)):
        draw_grey(panels[0, column], image, "")
        extent = (first[0], first[-1], second[0], second[-1])
        for panel, densities in zip(panels[1:, column], (true, recognition), strict=True):
            panel.imshow(densities[column], origin="lower", extent=extent, cmap="magma_r")
            panel.tick_params(labelsize=7)
    for panel, name in zip(panels[1:, 0], ("true posterior", "recognition"), strict=True):
        panel.set_ylabel(name)
    return figure


GRID_PIXELS = 840  # a grid of images is about that wide


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
