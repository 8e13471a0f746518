"""Pictures of images: each function turns arrays of a pictures.npz into a Figure."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from iwae_cli.reports.figures.style import DPI, PAGE, Style
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


def draw_grey(panel: Axes, picture: Images, title: str = "") -> None:
    """Show a picture with 0 as black and 1 as white, pixel by pixel."""
    panel.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    panel.set_title(title)
    panel.set_axis_off()


def draw_signed(panel: Axes, images: Images, title: str) -> AxesImage:
    """Show images [n, H, W] of weights, each scaled to its own largest, red above 0, blue below."""
    largest = np.abs(images).max(axis=(1, 2), keepdims=True)
    scaled = images / np.where(largest > 0, largest, 1)
    grid = mosaic(scaled, columns=round((1.2 * len(images)) ** 0.5), background=np.nan)
    shown = panel.imshow(grid, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    panel.set_title(title)
    panel.set_axis_off()
    return shown


def samples_side_by_side(samples: Mapping[str, Images], style: Style = PAGE) -> Figure:
    """Return samples as means of p(x | h), a panel for each model.

    Args:
        samples: [n, H, W] in [0, 1] by the model's name.
        style: Of the figure.
    """
    fitting = range(min(2, len(samples)), min(4, len(samples)) + 1)
    columns = min(fitting, key=lambda wide: (-len(samples) % wide, -wide))  # fewest gaps
    rows = -(-len(samples) // columns)
    side = style.picture / max(2, columns)
    size = (columns * side, rows * (side + 0.03 * style.points))
    figure = Figure(figsize=size, layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel, (name, images) in zip(panels, samples.items(), strict=False):
        draw_grey(panel, mosaic(images, background=GREY), name)
    for panel in panels[len(samples) :]:
        panel.set_axis_off()
    return figure


def reconstructions(pictures: Arrays, style: Style = PAGE) -> Figure:
    """Return images above the means of p(x | h) that the model makes of them."""
    originals, made = pictures["originals"], pictures["reconstructions"]
    starts = range(0, len(originals), COLUMNS)
    height, width = originals.shape[1:]
    scale = 0.85 * style.picture / (COLUMNS * (width + 1))
    size = (style.picture, len(starts) * (2 * (height + 1) * scale + 0.12))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(starts), 1, squeeze=False)[:, 0]
    for panel, first in zip(panels, starts, strict=True):
        part = slice(first, first + COLUMNS)
        both = np.concatenate([padded(originals[part]), padded(made[part])])
        picture = mosaic(both, background=1.0)
        panel.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        middles = [(height - 1) / 2, (height + 1) + (height - 1) / 2]
        panel.set_yticks(middles, ["image", "reconstruction"])
        panel.set_xticks([])
        panel.tick_params(length=0)
        panel.spines[:].set_visible(False)
    return figure


def padded(images: Images) -> Images:
    """Return images [n, H, W] with white ones added up to a whole row."""
    lacking = max(0, COLUMNS - len(images))
    return np.concatenate([images, np.ones((lacking, *images.shape[1:]))])


def weights(pictures: Arrays, style: Style = PAGE) -> Figure:
    """Return the weights from the pixels to the first layer, and from the last to the pixels."""
    panels = {
        "first layer: pixels to hidden units": pictures["first_layer_weights"],
        "last layer: hidden units to pixels": pictures["last_layer_weights"],
    }
    beside = style.columns > 1
    shape = (1, 2) if beside else (2, 1)
    side = style.picture if beside else style.picture - 0.5
    size = (1.5 * side + 0.7, 0.72 * side + 0.3) if beside else (style.picture, 2 * side - 0.4)
    figure = Figure(figsize=size, layout="constrained")
    drawn = list(figure.subplots(*shape).flat)
    for panel, (title, images) in zip(drawn, panels.items(), strict=True):
        shown = draw_signed(panel, images, title)
    bar = figure.colorbar(shown, ax=drawn, shrink=0.7, ticks=[-1, -0.5, 0, 0.5, 1])
    bar.set_label("weight / largest of its unit")
    bar.outline.set_visible(False)
    return figure


def posteriors(pictures: Arrays, style: Style = PAGE) -> Figure:
    """Return the true posterior beside the recognition density for images of a 2-D latent model.

    A column an image; rows: the image, p(h | x), q(h | x). Each density has its own scale, and
    both of an image show the same part of the plane.
    """
    images, axes = pictures["posterior_x"], pictures["posterior_axes"]
    true, recognition = pictures["true_posterior"], pictures["recognition"]
    side = 1.5 * style.picture / max(6, len(images))
    figure = Figure(figsize=(side * len(images), 2.9 * side), layout="constrained")
    panels = figure.subplots(3, len(images), squeeze=False)
    for column, (image, (first, second)) in enumerate(zip(images, axes, strict=True)):
        draw_grey(panels[0, column], image)
        extent = (first[0], first[-1], second[0], second[-1])
        for panel, densities in zip(panels[1:, column], (true, recognition), strict=True):
            density = densities[column]
            panel.imshow(density, origin="lower", extent=extent, cmap="magma_r", aspect="auto")
            panel.tick_params(labelsize=0.7 * style.points)
            for axis in (panel.xaxis, panel.yaxis):
                axis.set_major_locator(MaxNLocator(nbins=2, steps=[1, 2, 5, 10]))
        panels[1, column].tick_params(labelbottom=False)
        panels[2, column].set_xlabel("$h_1$")
    for panel, name in zip(panels[1:, 0], ("true posterior", "recognition"), strict=True):
        panel.set_ylabel(f"{name}\n$h_2$")
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
