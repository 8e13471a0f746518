"""Objectives trained alike beside each other: NLL, paired difference to iwae, units, seconds."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from iwae_cli.reports.plots import COLOURS, total
from iwae_cli.reports.reading import Run
from iwae_cli.reports.tables import active_name
from iwae_cli.runs.eval_csv import L_K

REFERENCE = "iwae"
FEWEST = 3
# A bar is cut if it is so many times longer than the next.
BEYOND = 3
ALIKE = ["data", "protocol", "architecture", "k", "seed", "split", "images", "eval_k", "eval_seed"]
COLUMNS = [*ALIKE, "objective", "nll", "se_images", "gain", "se", "t", "active", "passes"]
COLUMNS += ["seconds", "run"]
TITLE = "Objectives trained alike: NLL of iwae minus that of the objective, paired over images"


def comparison_table(runs: Sequence[Run], differences: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each objective of a group of runs that differ in it alone.

    A group has `iwae` and at least two others, evaluated alike. `gain` is above 0 where the
    objective is better than iwae; `se` is over images, of the paired difference. `seconds` is the
    time of training.

    Args:
        runs: With their evaluations.
        differences: `differences.paired_differences` of them.
    """
    by_name = {run.name: run for run in runs}
    rows = []
    for alike, group in differences.groupby(ALIKE):
        own = group[(group["baseline"] == REFERENCE) | (group["objective"] == REFERENCE)]
        if len(own) < FEWEST - 1:
            continue
        place = dict(zip(ALIKE, alike, strict=True))
        first = own.iloc[0]
        reference = "baseline_run" if first["baseline"] == REFERENCE else "run"
        zero = {"gain": 0.0, "se": 0.0, "t": math.nan}
        rows.append(row_of(by_name[first[reference]], REFERENCE, place, zero))
        for pair in own.to_dict("records"):
            turned = pair["objective"] == REFERENCE
            name, run = ("baseline", "baseline_run") if turned else ("objective", "run")
            sign = -1 if turned else 1
            gain = {"gain": sign * pair["gain"], "se": pair["se"], "t": sign * pair["t"]}
            rows.append(row_of(by_name[pair[run]], pair[name], place, gain))
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.sort_values([*ALIKE, "gain"], ascending=[True] * len(ALIKE) + [False])


def row_of(
    run: Run, objective: str, place: dict[str, Any], gain: dict[str, float]
) -> dict[str, Any]:
    """Return the row of one run; `place` holds the columns ALIKE."""
    table = run.evaluations
    wanted = {"split": place["split"], "images": place["images"], "k": place["eval_k"]}
    wanted |= {"seed": place["eval_seed"], "estimator": L_K, "precision": "float32"}
    evaluation = table[(table[list(wanted)] == pd.Series(wanted)).all(axis=1)].iloc[-1]
    return {
        **place,
        **gain,
        "objective": objective,
        "nll": evaluation["nll"],
        "se_images": evaluation["se_images"],
        "active": active_name(run, run.total_passes),
        "passes": run.passes,
        "seconds": float(run.metrics["seconds"].sum()),
        "run": run.name,
    }


def cut_bars(panel: Axes, own: pd.DataFrame, reach: float) -> None:
    """Show bars up to `reach`, and write its value on one that is longer."""
    low, high = panel.get_xlim()
    panel.set_xlim(max(low, -reach), min(high, reach))
    for place, gain in enumerate(own["gain"]):
        if abs(gain) > reach:
            style: dict[str, Any] = {"va": "center", "color": "white"}
            style["ha"] = "left" if gain < 0 else "right"
            panel.text(math.copysign(0.97 * reach, gain), place, f"{gain:+.1f}", **style)


def comparison_figure(table: pd.DataFrame) -> Figure:
    """Return bars of the gain over iwae, the active units and the seconds, an objective a row.

    Args:
        table: One group of `comparison_table`.
    """
    own = table.iloc[::-1]
    figure = Figure(figsize=(10, 1.2 + 0.34 * len(own)), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True, width_ratios=(3, 1.2, 1.2))
    panels[0].barh(own["objective"], own["gain"], xerr=2 * own["se"], color=COLOURS[0], capsize=3)
    panels[0].axvline(0, color="black", linewidth=0.8)
    sizes = own["gain"].abs().sort_values()
    reach = BEYOND * float(sizes.iloc[-2])
    if sizes.iloc[-1] > reach > 0:
        cut_bars(panels[0], own, reach)
    panels[0].set_xlabel("nats per image better than iwae (bars: two standard errors)")
    panels[1].barh(own["objective"], own["active"].map(total), color=COLOURS[1])
    panels[1].set_xlabel("active units")
    panels[2].barh(own["objective"], own["seconds"], color=COLOURS[2])
    panels[2].set_xlabel("seconds of training")
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
    return figure
