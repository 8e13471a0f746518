"""Objectives trained alike beside each other: NLL, paired difference to iwae, units, seconds."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from iwae_cli.reports.run_record import RunRecord
from iwae_cli.reports.run_tables import active_name
from iwae_cli.runs.eval_csv import by_l_k

REFERENCE = "iwae"
FEWEST = 3
ALIKE = ["data", "protocol", "architecture", "k", "seed", "split", "images", "eval_k", "eval_seed"]
COLUMNS = [*ALIKE, "objective", "nll", "se_images", "gain", "se", "t", "active", "passes"]
COLUMNS += ["seconds", "run"]
TITLE = "Objectives trained alike: NLL of iwae minus that of the objective, paired over images"


def comparison_table(runs: Sequence[RunRecord], differences: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each objective of a group of runs that differ in it alone.

    A group has `iwae` and at least two others, evaluated alike. `gain` is above 0 where the
    objective is better than iwae; `se` is over images, of the paired difference. `seconds` is the
    time of training.

    Args:
        runs: With their evaluations.
        differences: `paired_differences.paired_differences` of them.
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
    run: RunRecord, objective: str, place: dict[str, Any], gain: dict[str, float]
) -> dict[str, Any]:
    """Return the row of one run; `place` holds the columns ALIKE."""
    table = by_l_k(run.evaluations)
    wanted = {"split": place["split"], "images": place["images"], "k": place["eval_k"]}
    wanted |= {"seed": place["eval_seed"]}
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
