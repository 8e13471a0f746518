"""NLL against time of training, from outputs/paper/recipe/runs.csv.

Time is in minutes of one core, training seconds times threads, as runs had one or two.
"""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from iwae_cli.reports.figures.style import PAGE, legend_above, look, save_png
from iwae_cli.reports.labels import objective_label

FOLDER = Path(__file__).parents[1] / "outputs" / "paper" / "recipe"
# Burda et al. 2015, Table 1, one stochastic layer, and the target of the leaderboard
PAPER = {"paper, VAE k=50": 86.35, "paper, IWAE k=50": 84.78, "target": 86.73}
OBJECTIVES = ("dreg", "iwae")


def points() -> pd.DataFrame:
    """Return the runs with one layer, k=50 and L_5000 on all test images, the cheapest first."""
    runs = pd.read_csv(FOLDER / "runs.csv")
    chosen = runs[
        (runs["layers"] == 1)
        & (runs["k"] == 50)
        & (runs["eval.k"] == 5000)
        & (runs["eval.images"] == 10000)
        & runs["objective"].isin(OBJECTIVES)
    ]
    minutes = chosen["training_seconds"] * chosen["environment.threads"] / 60
    return chosen.assign(minutes=minutes).sort_values("minutes")


def draw(runs: pd.DataFrame) -> Figure:
    """Return the figure."""
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    panel = figure.add_subplot()
    for name, value in PAPER.items():
        panel.axhline(value, color="#888888", linestyle="--", linewidth=1)
        panel.text(
            0.99, value, name, transform=panel.get_yaxis_transform(), ha="right", va="bottom"
        )
    for objective in OBJECTIVES:
        label, (colour, marker) = objective_label(objective), look(objective)
        for recipe in ("kfac", "fast"):
            own = runs[(runs["objective"] == objective) & (runs["optimizer.name"] == recipe)]
            if not len(own):
                continue
            how = "K-FAC" if recipe == "kfac" else "Adam"
            panel.errorbar(
                own["minutes"],
                own["eval.nll"],
                yerr=own["eval.se_mc"],
                color=colour,
                marker=marker,
                linestyle="none",
                markerfacecolor=colour if recipe == "kfac" else "white",
                label=f"{label}, {how}",
            )
            for _, row in own.iterrows():
                place = (row["minutes"], row["eval.nll"])
                text = f"{row['passes']:.0f}"
                panel.annotate(text, place, (6, 5), textcoords="offset points", fontsize=8)
    panel.set_xscale("log")
    ticks = [t for t in (2, 5, 10, 20, 50, 100, 200) if t <= 1.5 * runs["minutes"].max()]
    panel.set_xticks([t for t in ticks if t >= 0.6 * runs["minutes"].min()])
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.margins(x=0.12, y=0.12)
    panel.set_xlabel("minutes of training on one core (labels: passes over the images)")
    panel.set_ylabel("test NLL by L$_{5000}$, nats")
    legend_above(figure, panel.get_legend_handles_labels()[0])
    return figure


if __name__ == "__main__":
    with PAGE.applied():
        save_png(draw(points()), FOLDER / "nll-against-minutes.png")
