"""Training curves: the bound against the pass, and k as it grows."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from iwae_cli.reports.figures.style import GREY, PAGE, Style, legend_above, line_styles, look
from iwae_cli.reports.labels import objective_label
from iwae_cli.reports.published import objective_order

# The first passes, this share of them, do not set the scale
EARLY = 0.1


class Curve(NamedTuple):
    """A model that was trained with several seeds.

    Attributes:
        objective: As in its config.
        k: The largest in training.
        metrics: metrics.csv of each seed.
    """

    objective: str
    k: int
    metrics: Sequence[pd.DataFrame]

    def over_seeds(self, column: str) -> pd.DataFrame:
        """Return minus a bound by pass: its `mean` and `sd` over seeds, where all seeds have it."""
        bounds = pd.concat([-table.set_index("pass")[column] for table in self.metrics], axis=1)
        whole = bounds.dropna()
        sd = whole.std(axis=1) if len(self.metrics) > 1 else 0.0
        return pd.DataFrame({"mean": whole.mean(axis=1), "sd": sd})


def training_curves(curves: Sequence[Curve], style: Style = PAGE) -> Figure:
    """Return minus the bound on training and held-out images against the pass.

    Lines are the mean over seeds on training images, bands one standard deviation over seeds,
    points held-out images. Where k grows in training, a panel below shows it: a bound with a
    smaller k is lower, so held-out points, by the k of the end, can lie below.

    Args:
        curves: A line each.
        style: Of the figure.
    """
    grows = any(table["k"].nunique() > 1 for curve in curves for table in curve.metrics)
    figure, panel, below = axes_of(style, grows)
    patterns = line_styles(curve.k for curve in curves)
    for curve in curves:
        draw(panel, curve, patterns[curve.k])
        if below is not None:
            ks = curve.metrics[0]
            below.step(ks["pass"], ks["k"], where="mid", linestyle=patterns[curve.k], color=GREY)
    limit(panel, curves)
    panel.set_ylabel("minus the bound (nats per image)")
    last = panel if below is None else below
    last.set_xlabel("pass over the training images")
    last.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    if below is not None:
        ks = sorted({int(k) for curve in curves for t in curve.metrics for k in t["k"]})
        below.set_yscale("log")
        shown = ks if len(ks) <= 3 else [ks[0], ks[len(ks) // 2], ks[-1]]
        below.set_yticks(shown, [str(k) for k in shown])
        below.yaxis.set_minor_locator(NullLocator())
        below.set_ylabel("k in\ntraining")
    legend_above(figure, legend_lines(curves, patterns))
    return figure


def axes_of(style: Style, grows: bool) -> tuple[Figure, Axes, Axes | None]:
    """Return the figure, its panel of bounds and, where k grows, the one of k below."""
    width, height = style.panel
    width *= 1.6 if style.columns > 1 else 1.0
    if not grows:
        figure = Figure(figsize=(width, 1.25 * height), layout="constrained")
        return figure, figure.subplots(), None
    figure = Figure(figsize=(width, 1.6 * height), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    return figure, above, below


def draw(panel: Axes, curve: Curve, pattern: Any) -> None:  # noqa: ANN401  (a line style)
    """Draw one model: a line with its band, and its held-out points."""
    colour, marker = look(curve.objective)
    train, held = curve.over_seeds("train_bound"), curve.over_seeds("valid_bound")
    panel.plot(train.index, train["mean"], linestyle=pattern, color=colour)
    if len(curve.metrics) > 1:
        low, high = train["mean"] - train["sd"], train["mean"] + train["sd"]
        panel.fill_between(train.index, low, high, color=colour, alpha=0.2, linewidth=0)
    panel.errorbar(
        held.index,
        held["mean"],
        yerr=held["sd"] if len(curve.metrics) > 1 else None,
        marker=marker,
        linestyle="none",
        color=colour,
        markerfacecolor="white",
    )


def limit(panel: Axes, curves: Sequence[Curve]) -> None:
    """Let the settled part of all curves set the scale, not the first passes."""
    tables = [curve.over_seeds("train_bound")["mean"] for curve in curves]
    settled = pd.concat([table.iloc[math.ceil(len(table) * EARLY) :] for table in tables])
    held = pd.concat([curve.over_seeds("valid_bound")["mean"] for curve in curves])
    if not len(settled):
        return
    values = pd.concat([settled, held]) if len(held) else settled
    low, high = float(values.min()), float(settled.quantile(0.98))
    high = max(high, float(held.max())) if len(held) else high
    if low < high:
        panel.set_ylim(low - 0.05 * (high - low), high + 0.1 * (high - low))


def legend_lines(curves: Sequence[Curve], patterns: Mapping[int, Any]) -> list[Line2D]:
    """Return what a legend shows: a colour an objective, a pattern a k, what points and bands are.

    Where each objective has one k they are one entry.
    """
    names = sorted({curve.objective for curve in curves}, key=objective_order)
    lines = []
    for name in names:
        colour, marker = look(name)
        own: dict[str, Any] = {"color": colour, "marker": marker, "markerfacecolor": "white"}
        lines.append(Line2D([], [], label=objective_label(name), **own))
    for k, pattern in patterns.items():
        lines.append(Line2D([], [], color=GREY, linestyle=pattern, label=f"k = {k}"))
    held = any(len(curve.over_seeds("valid_bound")) for curve in curves)
    if held:
        points: dict[str, Any] = {"marker": "o", "markerfacecolor": "white", "linestyle": "none"}
        lines.append(Line2D([], [], color=GREY, label="held-out images", **points))
    return lines
