"""Runs as tables: one row a run and evaluation, and the evaluation that stands for each run."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import pandas as pd

from iwae_cli.core.config import Arch, Config
from iwae_cli.reports import published
from iwae_cli.reports.read_runs import RunRecord
from iwae_cli.runs.eval_csv import L_K

# What two runs may differ in and still stand in one table; all else is the protocol.
TABLE_KEYS = ("objective.", "arch.latents", "arch.hidden", "dataset.", "init_from")
PREFERRED_K = 5000


def flattened(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested mapping with dotted keys; lists become JSON."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = json.dumps(value) if isinstance(value, list) else value
    return flat


def identity_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flattened keys of a config, and of its parents, that change the parameters."""
    skipped = {f.name for f in fields(Config) if f.metadata.get("identity") is False}
    unnamed = {f.name for f in fields(Arch) if f.metadata.get("identity") is False}
    own = {key: node for key, node in config.items() if key not in skipped and node is not None}
    own["arch"] = {key: value for key, value in config["arch"].items() if key not in unnamed}
    if config.get("init_from"):
        own["init_from"] = identity_keys(config["init_from"])
    return flattened(own)


def protocol_keys(run: RunRecord) -> dict[str, Any]:
    """Return the keys of a run's config that say how it was trained, whatever the table's cell."""
    flat = identity_keys(run.config)
    return {
        key: value
        for key, value in flat.items()
        if key not in ("k", "seed") and not key.startswith(TABLE_KEYS)
    }


def protocol_names(runs: Sequence[RunRecord]) -> list[str]:
    """Return a name of each run's protocol: optimiser and passes, and what else tells it apart."""
    keys = [{**protocol_keys(run), "passes": run.total_passes} for run in runs]
    short = [f"{k['optimizer.name']}, {k['passes']} passes" for k in keys]
    names = []
    for own, name in zip(keys, short, strict=True):
        rivals = [other for other, same in zip(keys, short, strict=True) if same == name]
        telling = sorted(
            key
            for key, value in own.items()
            if any(other.get(key, value) != value for other in rivals)
        )
        names.append(", ".join([name, *(f"{key}={own[key]}" for key in telling)]))
    return names


def data_names(runs: Sequence[RunRecord]) -> list[str]:
    """Return what each run's data are called, with the hash where one name stands for several."""
    found = {(data_of(run)["label"], data_of(run)["hash"]) for run in runs}
    versions = Counter(label for label, _ in found)
    names = []
    for run in runs:
        label, digest = data_of(run)["label"], data_of(run)["hash"]
        names.append(f"{label} ({str(digest)[:8]})" if versions[label] > 1 else label)
    return names


def data_of(run: RunRecord) -> dict[str, Any]:
    """Return label, hash and numbers of images of a run's data."""
    return {"images": {}, **run.environment["data"]}


def objective_name(objective: Mapping[str, Any]) -> str:
    """Return an objective with its parameters, such as `vae` or `ciwae(beta=0.5)`."""
    given = {k: v for k, v in objective.items() if k != "name" and v is not None}
    options = ",".join(f"{key}={value}" for key, value in given.items())
    return f"{objective['name']}({options})" if options else str(objective["name"])


def architecture_name(arch: Mapping[str, Any]) -> str:
    """Return the sizes of the stochastic layers, such as `100+50`; the hidden ones unless usual."""
    latents, hidden = arch["latents"], arch.get("hidden", [])
    name = "+".join(map(str, latents))
    if (latents, hidden) == published.ARCHITECTURES.get(len(latents)):
        return name
    return f"{name}, hidden {' + '.join('-'.join(map(str, widths)) for widths in hidden)}"


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
    units; every key of its config; `environment.*`.
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
                | flattened(run.config)
                | {f"environment.{k}": v for k, v in flattened(run.environment).items()}
            )
    return pd.DataFrame(rows)


def summary(run: RunRecord) -> dict[str, Any]:
    """Return what a run is, and what its training came to."""
    last = run.metrics.iloc[-1] if len(run.metrics) else {}
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
    if not len(run.active_units):
        return {}
    last = run.active_units.iloc[-1]
    return {f"active.{name}": last[name] for name in names if name in last}


def test_images(runs: Sequence[RunRecord]) -> dict[str, int]:
    """Return the number of test images of each data set, by its hash.

    Runs older than that field of environment.json count the most that any run was evaluated on.
    """
    sizes: dict[str, int] = {}
    for run in runs:
        data, own = data_of(run), run.evaluations
        counted = own.loc[own["split"] == "test", "images"].max() if len(own) else 0
        stated = data["images"].get("test", 0 if counted != counted else counted)
        sizes[data["hash"]] = max(sizes.get(data["hash"], 0), int(stated))
    return sizes


def best_evaluation(run: RunRecord, images: int) -> dict[str, Any] | None:
    """Return the evaluation that stands for a finished run: of all test images, by L_5000.

    Where there is none with k = 5000, the largest k; of several, the newest.
    """
    own = run.evaluations
    own = own[
        (own["split"] == "test")
        & (own["images"] == images)
        & (own["passes"] == run.total_passes)
        & (own["estimator"] == L_K)
        & (own["precision"] == "float32")
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
        found = best_evaluation(run, sizes[data_of(run)["hash"]])
        parent = run.config.get("init_from")
        status = "" if found else "not evaluated on all test images"
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
                **{f"eval_{key}": (found or {}).get(key, math.nan) for key in EVALUATED},
                "active": active_name(run, run.total_passes) if found else "",
            }
        )
    return pd.DataFrame(rows)


EVALUATED = ("k", "images", "seed", "nll", "se_images", "se_mc", "bias")
