"""What all figures share: colours, an axis of k, how they are saved."""

import io
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from iwae_cli.core.atomic_write import write_atomically

COLOURS = ("#2f5d8a", "#c0623a", "#5a8a4b", "#7a5a8a", "#8a7a2f", "#3a9a9a", "#b04a7a", "#666666")
LINES = ("-", "--", ":", "-.")
DPI = 150


def logarithmic_k(panel: Axes, ks: list[int]) -> None:
    """Give a panel a logarithmic axis of k with a tick at each k."""
    panel.set_xscale("log")
    panel.set_xticks(ks, [str(k) for k in ks])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xlabel("k (samples per image in training)")
    panel.spines[["top", "right"]].set_visible(False)


def png(figure: Figure) -> bytes:
    """Return a figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def pdf(figure: Figure) -> bytes:
    """Return a figure as PDF, the same bytes whenever it is drawn."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="pdf", dpi=300, metadata={"CreationDate": None})
    return buffer.getvalue()


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, and the folder it belongs in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, png(figure))
