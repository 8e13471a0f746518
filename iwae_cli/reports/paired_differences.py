"""Paired differences between objectives, from the log-likelihood of each image."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from iwae_cli.reports.naming import (
    architecture_name,
    data_names,
    data_of,
    identity_keys,
    objective_name,
    protocol_names,
)
from iwae_cli.reports.published import objective_order
from iwae_cli.reports.run_record import RunRecord
from iwae_cli.runs.eval_csv import ArrayKey, array_key

COLUMNS = ["data", "protocol", "architecture", "k", "seed", "baseline", "objective", "gain"]
# Its error is over images: what another seed would give is not in it
T = "t (images only)"
COLUMNS += ["se", T, "eval_k", "images", "split", "eval_seed", "baseline_run", "run"]


def final_arrays(run: RunRecord) -> dict[ArrayKey, np.ndarray[Any, np.dtype[np.float64]]]:
    """Return log p-hat of each image for every evaluation of a run's last pass."""
    table, found = run.evaluations, {}
    for name, log_p in run.per_image.items():
        key = array_key(name)
        if key is None or log_p.shape != (key.images,):
            continue
        same = (table[list(key._fields)] == pd.Series(key._asdict())).all(axis=1)
        passes = table.loc[same, "passes"]
        if len(passes) and passes.iloc[-1] == run.total_passes:
            found[key] = log_p
    return found


def paired_differences(runs: Sequence[RunRecord]) -> pd.DataFrame:
    """Return one row for each two runs that differ in their objective alone, and evaluation.

    `gain` is the NLL of `baseline` minus that of `objective`, the mean over images on the same
    binarisation, nats per image: above 0 where `objective` is better. `se` is its standard error
    over images, `t (images only)` their quotient; neither knows how much seeds differ.
    """
    groups: dict[str, dict[str, tuple[RunRecord, dict[str, Any]]]] = {}
    names = zip(runs, protocol_names(runs), data_names(runs), strict=True)
    for run, protocol, data in names:
        keys = identity_keys(run.config)
        own = {key: value for key, value in keys.items() if not key.startswith("objective.")}
        place = {
            "data": data,
            "protocol": protocol,
            "architecture": architecture_name(run.config["arch"]),
            "k": run.config["k"],
            "seed": run.config["seed"],
        }
        alike = groups.setdefault(repr((sorted(own.items()), data_of(run)["hash"])), {})
        alike[objective_name(run.config["objective"])] = (run, place)
    rows = [
        {**group[one][1], **row}
        for group in groups.values()
        for one, other in itertools.combinations(sorted(group, key=objective_order), 2)
        for row in compared(one, group[one][0], other, group[other][0])
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def compared(one: str, baseline: RunRecord, other: str, run: RunRecord) -> Iterator[dict[str, Any]]:
    """Yield the paired difference of two runs for each evaluation that both have."""
    first, second = final_arrays(baseline), final_arrays(run)
    for key in sorted(first.keys() & second.keys()):
        gain = second[key] - first[key]
        se = float(gain.std(ddof=1)) / math.sqrt(len(gain)) if len(gain) > 1 else math.nan
        yield {
            "baseline": one,
            "objective": other,
            "gain": float(gain.mean()),
            "se": se,
            T: float(gain.mean()) / se if se > 0 else math.nan,
            "images": key.images,
            "split": key.split,
            "eval_k": key.k,
            "eval_seed": key.seed,
            "baseline_run": baseline.name,
            "run": run.name,
        }
