"""Curves and histograms: each function turns a finished table into a Figure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from iwae_cli.reports.figures.style import COLOURS, LINES, logarithmic_k, save_png
from iwae_cli.reports.published import objective_order
from iwae_cli.reports.seeds import total_active

SMALLEST_VARIANCE = 1e-8


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


def nll_against_k(cells: pd.DataFrame) -> Figure:
    """Return test NLL against k, a panel for each architecture, with the paper's points.

    Args:
        cells: `results.result_cells` of one data set and protocol; bars are the standard deviation
            over seeds. Estimates by L_k of different k cannot be compared: those by the most
            common k are drawn.
    """
    by = cells.loc[cells["nll"].notna(), "eval_k"].mode()
    comparable = cells.assign(nll=cells["nll"].where(cells["eval_k"].isin(by[-1:])))
    return panels_against_k(
        comparable,
        ours="nll",
        spread="sd",
        published="paper_nll",
        label="test NLL (nats per image)",
    )


def active_against_k(cells: pd.DataFrame) -> Figure:
    """Return the active units of all layers together against k, a panel for each architecture.

    Args:
        cells: As `nll_against_k` takes.
    """
    own = cells.assign(
        ours=cells["active"].map(total_active), paper=cells["paper_active"].map(total_active)
    )
    figure = panels_against_k(own, ours="ours", published="paper", label="active units")
    for panel in figure.axes:
        panel.yaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def panels_against_k(
    cells: pd.DataFrame, *, ours: str, published: str, label: str, spread: str | None = None
) -> Figure:
    """Return a column of `cells` against k, a line an objective, a panel an architecture."""
    filled = cells[cells[ours].notna()]
    architectures = list(dict.fromkeys(zip(filled["layers"], filled["architecture"], strict=True)))
    figure = Figure(figsize=(1 + 4.2 * len(architectures), 3.6), layout="constrained")
    panels = figure.subplots(1, len(architectures), squeeze=False)[0]
    for panel, (layers, architecture) in zip(panels, architectures, strict=True):
        own = cells[cells["architecture"] == architecture]
        names = sorted(set(own["objective"]), key=objective_order)
        for name, colour in zip(names, COLOURS * len(names), strict=False):
            line = own[own["objective"] == name].sort_values("k")
            known = line[line[ours].notna()]
            errors = known[spread].fillna(0) if spread else None
            style: dict[str, Any] = {"color": colour, "marker": "o", "markersize": 5}
            title = f"{name.upper()}, ours"
            panel.errorbar(known["k"], known[ours], yerr=errors, capsize=3, label=title, **style)
            theirs = line[line[published].notna()]
            if len(theirs):
                hollow = {**style, "markerfacecolor": "white", "linestyle": ":"}
                panel.plot(theirs["k"], theirs[published], label=f"{name.upper()}, paper", **hollow)
        of = "layer" if layers == 1 else "layers"
        panel.set_title(f"{layers} stochastic {of} ({architecture})", fontsize=10)
        logarithmic_k(panel, sorted(set(own["k"])))
    panels[0].set_ylabel(label)
    panels[-1].legend(frameon=False, fontsize=8)
    return figure


def training_curves(metrics: Mapping[str, pd.DataFrame]) -> Figure:
    """Return minus the bound on training and held-out images against the pass.

    Args:
        metrics: metrics.csv of each run by the name it has in the legend.
    """
    figure = Figure(figsize=(7.5, 4), layout="constrained")
    panel = figure.subplots()
    for index, (name, table) in enumerate(metrics.items()):
        style: dict[str, Any] = {"color": COLOURS[index % len(COLOURS)], "linewidth": 1.2}
        pattern = LINES[index // len(COLOURS) % len(LINES)]
        panel.plot(table["pass"], -table["train_bound"], pattern, label=name, **style)
        held_out = table[table["valid_bound"].notna()]
        panel.plot(held_out["pass"], -held_out["valid_bound"], "o", markersize=3, **style)
    settled = pd.concat(
        -table["train_bound"].iloc[len(table) // 20 :] for table in metrics.values()
    )
    held = pd.concat(-table["valid_bound"] for table in metrics.values())
    low, high = min(settled.min(), held.min()), max(settled.quantile(0.99), held.max())
    if low < high:
        panel.set_ylim(low - 0.05 * (high - low), high + 0.15 * (high - low))
    panel.set_xlabel("pass over the training images")
    panel.set_ylabel("minus the bound (nats per image)")
    panel.set_title("lines: training images; points: held-out images", fontsize=10)
    panel.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    return figure


def write_activity_histogram(csv: Path) -> Path:
    """Draw the histogram of an active_units.csv into the run's `plots` and return its path."""
    path = csv.parent / "plots" / "active_units.png"
    save_png(activity_histogram(pd.read_csv(csv)), path)
    return path
