"""What all figures share: sizes, the look of each objective, an axis of k, how they are saved."""

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from iwae_cli.core.atomic_write import write_atomically

DPI, SCREEN_DPI = 150, 110


@dataclass(frozen=True)
class Style:
    """How large a figure and its text are.

    Attributes:
        panel: Width and height of a panel of curves, inches.
        columns: Panels beside each other at the most.
        picture: Width of a figure of images, inches.
        points: Size of the text.
    """

    panel: tuple[float, float]
    columns: int
    picture: float
    points: float

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Draw and save figures in this style inside a `with`."""
        small = self.points - 1
        settings: dict[Any, Any] = {"font.size": self.points, "axes.titlesize": self.points}
        settings |= dict.fromkeys(("legend.fontsize", "xtick.labelsize", "ytick.labelsize"), small)
        settings |= {"lines.linewidth": 0.14 * self.points, "lines.markersize": 0.55 * self.points}
        settings |= {"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
        settings |= {"pdf.fonttype": 42, "svg.hashsalt": "iwae", "errorbar.capsize": 2.5}
        with mpl.rc_context(settings):
            yield

    def panels(self, number: int, *, height: float = 1.0) -> tuple[Figure, Sequence[Axes]]:
        """Return a figure with this many panels, `height` times as high as usual."""
        columns = min(number, self.columns)
        rows = -(-number // columns)
        size = (columns * self.panel[0], rows * height * self.panel[1] + 0.06 * self.points)
        figure = Figure(figsize=size, layout="constrained")
        panels = list(figure.subplots(rows, columns, squeeze=False).flat)
        for spare in panels[number:]:
            spare.set_axis_off()
        return figure, panels[:number]


PAGE = Style(panel=(4.6, 3.1), columns=3, picture=6.5, points=10)
# One column of a paper in two columns
COLUMN = Style(panel=(3.3, 2.3), columns=1, picture=3.3, points=8)
STYLES = {"page": PAGE, "column": COLUMN}


class Look(NamedTuple):
    """Colour and marker of an objective.

    Attributes:
        colour: As matplotlib reads it.
        marker: Its name, or number of corners, kind (0 a polygon, 1 a star) and angle.
    """

    colour: str
    marker: Any


# Okabe and Ito 2008: colours that people with any colour vision tell apart; yellow is too pale
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
COLOURS = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "d")
LOOKS = {
    "vae": Look(ORANGE, "s"),
    "iwae": Look(BLUE, "o"),
    "dreg": Look(GREEN, "^"),
    "stl": Look(VERMILLION, "D"),
    "rws": Look(PURPLE, "v"),
    "ciwae": Look(SKY, "P"),
    "vimco": Look(BLACK, "X"),
    "iwae_one_sample": Look(BLUE, "h"),
    "dreg_alpha": Look(GREEN, ">"),
    "rws_dreg": Look(PURPLE, "<"),
    "miwae": Look(SKY, "p"),
    "piwae": Look(SKY, "d"),
    "vr": Look(VERMILLION, "o"),
    "vr_dreg": Look(VERMILLION, "^"),
    "tvo": Look(ORANGE, "p"),
    "jvi": Look(BLACK, "s"),
}
# Of k, from the smallest
LINES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (2, 1)))
GREY = "#777777"


def look(objective: str) -> Look:
    """Return the look of an objective such as `dreg` or `ciwae(beta=0.5)`, the same everywhere.

    Options change the marker, an objective that is not known here has a look of its own name.
    """
    name, _, options = objective.partition("(")
    known = LOOKS.get(name)
    if known is None:
        number = crc32(name.encode())
        known = Look(COLOURS[number % len(COLOURS)], MARKERS[number // 7 % len(MARKERS)])
    if options:
        number = crc32(options.encode())
        return known._replace(marker=(3 + number % 5, number // 5 % 2, 15 * (number // 10 % 6)))
    return known


def line_styles(ks: Iterable[int]) -> dict[int, Any]:
    """Return a line style for each k, a solid line for the smallest."""
    return {k: LINES[n % len(LINES)] for n, k in enumerate(sorted(set(ks)))}


def legend_above(figure: Figure, handles: Sequence[Line2D]) -> None:
    """Put a legend above the panels of a figure, outside of them, as wide as the figure."""
    labels = [str(handle.get_label()) for handle in handles]
    line = figure.get_figwidth() * 72 / mpl.rcParams["font.size"] * 1.9  # characters
    widths = [len(label) + 7 for label in labels]
    columns = len(labels) if sum(widths) <= line else max(1, int(line / max(widths)))
    figure.legend(handles, labels, loc="outside upper center", ncols=min(columns, len(labels)))


def logarithmic_k(panel: Axes, ks: Sequence[int]) -> None:
    """Give a panel a logarithmic axis of k with a tick at each k, at powers of ten of many."""
    panel.set_xscale("log")
    if len(ks) <= 7:
        panel.set_xticks(ks, [str(k) for k in ks])
    else:
        plain_decades(panel, "x")
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xlabel("k (samples per image in training)")


def plain_decades(panel: Axes, which: str, subs: Sequence[float] = (1.0,)) -> None:
    """Write the ticks of a logarithmic axis as plain numbers, at round ones."""
    axis = panel.xaxis if which == "x" else panel.yaxis
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def image(figure: Figure, kind: str, *, dpi: float = DPI) -> bytes:
    """Return a figure as `png`, `pdf` or `svg`, the same bytes whenever it is drawn."""
    metadata: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=dpi, metadata=metadata.get(kind))
    return buffer.getvalue()


def preview(figure: Figure, pixels: int) -> bytes:
    """Return a figure as a WebP image of at most this width, for a page."""
    buffer = io.BytesIO()
    dpi = min(pixels / figure.get_figwidth(), SCREEN_DPI)
    figure.savefig(buffer, format="webp", dpi=dpi, pil_kwargs={"quality": 80, "method": 4})
    return buffer.getvalue()


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, and the folder it belongs in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, image(figure, "png"))
