"""Draws every committed figure again from the committed results in outputs/paper.

python benchmarks/paper_figures.py
"""

from pathlib import Path

import pandas as pd
from growth_figure import growth_figure
from leaderboard import FOLDER, draw, points
from matplotlib.figure import Figure
from trust_figure import trust_figure

import iwae_cli
from iwae_cli.reports.figures.against_k import draw_lines, hollow, labelled, nll_against_k
from iwae_cli.reports.figures.gradients import gradient_figure
from iwae_cli.reports.figures.images import draw_grey, mosaic
from iwae_cli.reports.figures.objectives import comparison_figure
from iwae_cli.reports.figures.style import (
    PAGE,
    Line2D,
    legend_above,
    logarithmic_k,
    look,
    save_png,
)
from iwae_cli.reports.labels import objective_label
from iwae_cli.reports.report import report_of

PAPER = FOLDER.parent
SHOWN = PAPER / "models" / "mnist-50-dreg-k50.pt"
RECIPE, RECIPES = "kfac", {"kfac": "K-FAC"}
ROWS, COLUMNS = 8, 10


def best_of_recipe(folders: list[Path]) -> pd.DataFrame:
    """Return cells of one stochastic layer on MNIST: of each objective and k the longest training.

    Training is by RECIPE; the paper's cells stand beside.
    """
    report = report_of(*folders)
    place = (report.cells["dataset"] == "mnist") & (report.cells["architecture"] == "50")
    cells = report.cells[place & (report.cells["eval_k"].isin(["5000", ""]))].copy()
    passes = report.scores.set_index("run")["total_passes"]
    cells["passes"] = [passes[runs.split()].max() if runs else 0 for runs in cells["runs"]]
    ours = cells["nll"].notna() & cells["protocol"].str.startswith(RECIPE)
    cells.loc[~ours, "nll"] = float("nan")
    cells["longest"] = cells["passes"].where(ours, -1)
    kept = cells.sort_values("longest").drop_duplicates(["objective", "k"], keep="last")
    return kept.sort_values(["objective", "k"])


def first_figure(cells: pd.DataFrame) -> Figure:
    """Return NLL against k, ours beside the paper's, and samples of a model beside it."""
    figure = Figure(figsize=(9.4, 3.7), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    own = cells.assign(
        value=cells["nll"],
        error=cells["sd"].where(cells["seeds"] > 1, cells["se_images"]),
        paper=float("nan"),
    )
    handles = {f"{label}, {RECIPES[RECIPE]}": line for label, line in draw_lines(left, own).items()}
    for name, theirs in cells[cells["paper_nll"].notna()].groupby("objective"):
        colour, marker = look(name)
        left.plot(theirs["k"], theirs["paper_nll"], **hollow(colour, marker))
        handles[f"{objective_label(name)}, paper"] = Line2D([], [], **hollow(colour, marker))
    known = cells["nll"].notna() | cells["paper_nll"].notna()
    logarithmic_k(left, sorted(set(cells.loc[known, "k"])))
    left.set_ylabel("test NLL (nats per image)")
    left.set_title("MNIST, one stochastic layer, L$_{5000}$")
    legend_above(figure, labelled(handles))
    samples = iwae_cli.load(SHOWN).sample(ROWS * COLUMNS, seed=0)
    pictures = samples.reshape(ROWS * COLUMNS, 28, 28)
    draw_grey(right, mosaic(pictures, columns=COLUMNS, background=0.3), "samples, DReG, k = 50")
    return figure


def main() -> None:
    sources = sorted(PAPER.glob("*/runs.csv"))
    # Written by the first versions, of one seed each
    compared = pd.read_csv(PAPER / "objectives" / "objectives.csv")
    compared = compared.assign(n=1, high=float("nan"), active_sd=float("nan"))
    compared["active"] = compared["active"].astype(str)
    with PAGE.applied():
        figures = {
            "nll-against-k-and-samples.png": first_figure(best_of_recipe(sources)),
            "bench/growth.png": growth_figure(pd.read_csv(PAPER / "bench" / "growth.csv")),
            "gradients/gradients.png": gradient_figure(
                pd.read_csv(PAPER / "gradients" / "gradients.csv")
            ),
            "objectives/objectives.png": comparison_figure(compared),
            "mnist/nll-against-k.png": nll_against_k(report_of(PAPER / "mnist" / "runs.csv").cells),
            "recipe/nll-against-minutes.png": draw(points()),
            "trust/bound-against-cost.png": trust_figure(
                pd.read_csv(PAPER / "trust" / "trust.csv")
            ),
        }
        for name, figure in figures.items():
            if figure is not None:
                save_png(figure, PAPER / name)
                print(PAPER / name)


if __name__ == "__main__":
    main()
