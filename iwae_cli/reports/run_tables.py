"""Runs as tables: one row a run and evaluation, and the evaluation that stands for each run."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from iwae_cli.reports.naming import (
    architecture_name,
    cells_of,
    data_names,
    data_of,
    identity_keys,
    objective_name,
    protocol_names,
)
from iwae_cli.reports.run_record import RunRecord
from iwae_cli.runs.eval_csv import by_l_k

PREFERRED_K = 5000


def active_name(run: RunRecord, passes: object) -> str:
    """Return the active units of each layer, such as `26+7`; empty if not counted at `passes`."""
    table = run.active_units
    if not len(table) or int(table["passes"].iloc[-1]) != passes:
        return ""
    counts = table.groupby("layer")["active"].sum()
    return "+".join(str(int(count)) for count in counts)


def parent_of(run: RunRecord, runs: Sequence[RunRecord]) -> RunRecord | None:
    """Return the run that this one started from, if it is among `runs`."""
    config = run.config.get("init_from")
    if not config:
        return None
    wanted = identity_keys(config)
    return next((other for other in runs if identity_keys(other.config) == wanted), None)


def runs_table(runs: Sequence[RunRecord]) -> pd.DataFrame:
    """Return one row for each run and evaluation, and one for a run without any.

    Columns: what the run is and came to; `eval.*`, a row of its eval.csv; `active.*`, its active
    units; `removal.*`, the check of them; every key of its config; `environment.*`. Cells are
    written as they are in the run's files, so that `stored_runs` reads them back.
    """
    rows = []
    names = zip(runs, protocol_names(runs), data_names(runs), strict=True)
    for run, protocol, data in names:
        parent = parent_of(run, runs)
        about = {
            **summary(run),
            "data": data,
            "protocol": protocol,
            "parent": parent.name if parent else None,
            "parent_identity": parent.environment.get("identity") if parent else None,
        }
        evaluations = run.evaluations.drop(columns="run", errors="ignore")
        for evaluation in evaluations.to_dict("records") or [{}]:
            passes = evaluation.get("passes", run.passes)
            rows.append(
                about
                | {f"eval.{key}": value for key, value in evaluation.items()}
                | {"active.units": active_name(run, passes)}
                | active_settings(run)
                | {f"removal.{key}": value for key, value in last_row(run.removal).items()}
                | cells_of(run.config)
                | {f"environment.{k}": v for k, v in cells_of(run.environment).items()}
            )
    return pd.DataFrame(rows, dtype=object)


def last_row(table: pd.DataFrame) -> dict[str, Any]:
    """Return the last row of a table, empty where it has none."""
    return {str(k): v for k, v in table.iloc[-1].to_dict().items()} if len(table) else {}


def summary(run: RunRecord) -> dict[str, Any]:
    """Return what a run is, and what its training came to."""
    last = last_row(run.metrics)
    return {
        "run": run.name,
        "folder": str(run.folder.path),
        "identity": run.environment.get("identity"),
        "state": run.state,
        "layers": len(run.config["arch"]["latents"]),
        "architecture": architecture_name(run.config["arch"]),
        "objective": objective_name(run.config["objective"]),
        "passes": run.passes,
        "total_passes": run.total_passes,
        "train_bound": last.get("train_bound"),
        "valid_bound": last.get("valid_bound"),
        "training_seconds": float(run.metrics["seconds"].sum()),
        "hardware": run.environment.get("device"),
        "commit": run.environment.get("commit"),
        "data_hash": data_of(run)["hash"],
    }


def active_settings(run: RunRecord) -> dict[str, Any]:
    """Return how the active units of a run were counted."""
    names = ["definition", "threshold", "samples", "split", "images", "seed"]
    last = last_row(run.active_units)
    return {f"active.{name}": last[name] for name in names if name in last}


class TestImages(NamedTuple):
    """How many test images a data set has, and on how many of them its runs are compared."""

    there: int
    used: int


def test_images(runs: Sequence[RunRecord]) -> dict[str, TestImages]:
    """Return the test images of each data set, by its hash.

    Runs are compared on all of them or, where none was evaluated on all, on the most that some
    was. Runs older than that field of environment.json count what any run was evaluated on.
    """
    stated: dict[str, int] = {}
    counted: dict[str, set[int]] = {}
    for run in runs:
        data, own = data_of(run), by_l_k(run.evaluations)
        key = str(data["hash"])
        stated[key] = max(stated.get(key, 0), int(data["images"].get("test", 0)))
        counted.setdefault(key, {0}).update(map(int, own.loc[own["split"] == "test", "images"]))
    sizes = {}
    for key, counts in counted.items():
        there = stated[key] or max(counts)
        sizes[key] = TestImages(there, there if there in counts else max(counts) or there)
    return sizes


def best_evaluation(run: RunRecord, images: int) -> dict[str, Any] | None:
    """Return the evaluation that stands for a finished run: of that many test images, by L_5000.

    Where there is none with k = 5000, the largest k; of several, the newest.
    """
    own = by_l_k(run.evaluations)
    own = own[
        (own["split"] == "test") & (own["images"] == images) & (own["passes"] == run.total_passes)
    ]
    if not len(own):
        return None
    k = PREFERRED_K if PREFERRED_K in set(own["k"]) else own["k"].max()
    row: dict[str, Any] = own[own["k"] == k].iloc[-1].to_dict()
    return row


def scores_table(runs: Sequence[RunRecord]) -> pd.DataFrame:
    """Return one row a run: its place in the paper's tables, and its result or why it has none."""
    rows = []
    sizes = test_images(runs)
    names = zip(runs, protocol_names(runs), data_names(runs), strict=True)
    for run, protocol, data in names:
        images = sizes[data_of(run)["hash"]]
        found = best_evaluation(run, images.used)
        parent = run.config.get("init_from")
        which = "all" if images.used == images.there else str(images.used)
        status = "" if found else f"not evaluated on {which} test images"
        if run.passes < (run.total_passes or run.passes + 1):
            status = f"{run.state}: {run.passes} of {run.total_passes or '?'} passes"
        rows.append(
            {
                **summary(run),
                "dataset": run.config["dataset"]["name"],
                "data": data,
                "protocol": protocol,
                "k": run.config["k"],
                "seed": run.config["seed"],
                "first_objective": objective_name(parent["objective"]) if parent else "",
                "first_k": parent["k"] if parent else 0,
                "parent": getattr(parent_of(run, runs), "name", ""),
                "status": status,
                "test_images": images.there,
                **{f"eval_{key}": (found or {}).get(key, math.nan) for key in EVALUATED},
                "active": active_name(run, run.total_passes) if found else "",
            }
        )
    return pd.DataFrame(rows)


EVALUATED = ("k", "images", "seed", "nll", "se_images", "se_mc", "bias")
