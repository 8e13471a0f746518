"""Results held to the run that they are stored with: those of another model are left out."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

# Columns of whole numbers that a row must have
WHOLE = ("pass", "passes", "steps", "images", "seed", "k", "layer", "unit")


def own_rows(table: pd.DataFrame, environment: Mapping[str, Any]) -> tuple[pd.DataFrame, str]:
    """Return the rows that are results of a run, and why others are not, if there are any.

    Rows of earlier versions do not say which parameters they belong to, and are taken.

    Args:
        table: Results, a row each.
        environment: Of the run; its digest of the parameters is that at the end of training.
    """
    if table.empty:
        return table, ""
    whole = table[[name for name in WHOLE if name in table]].notna().all(axis=1)
    fault = "" if whole.all() else "a row without its numbers was left out"
    own = whole
    identity, parameters = environment.get("identity"), environment.get("parameters")
    if identity and "identity" in table:
        own = own & table["identity"].isin(["", identity])
    if parameters and {"parameters", "passes"} <= {*table}:
        last = table["passes"] == environment.get("total_passes")
        own = own & (~last | table["parameters"].isin(["", parameters]))
    if not fault and not own.all():
        fault = "results of another model than this run's were left out; evaluate again"
    return table[own], fault


def environment_fault(environment: Mapping[str, Any]) -> str | None:
    """Return what a report needs and an environment.json has not, if anything."""
    images = environment["data"].get("images", {})
    if not isinstance(images, dict) or not all(isinstance(n, int) for n in images.values()):
        return "no numbers of images"
    if not isinstance(environment.get("total_passes", 1), int):
        return "no whole number 'total_passes'"
    texts = (environment["data"]["label"], environment["data"]["hash"])
    return None if all(isinstance(text, str) for text in texts) else "no label or hash of the data"


def config_fault(config: object) -> str | None:
    """Return what a report needs and a config has not, if anything."""
    if not isinstance(config, dict):
        return "no mapping of keys"
    for node in ("arch", "dataset", "objective", "optimizer"):
        if not (isinstance(config.get(node), dict) and isinstance(config[node].get("name"), str)):
            return f"no key '{node}' with a name"
    likelihood = config.get("likelihood", {"name": ""})
    if not (isinstance(likelihood, dict) and isinstance(likelihood.get("name"), str)):
        return "no key 'likelihood' with a name"
    for key in ("k", "seed"):
        if not isinstance(config.get(key), int):
            return f"no whole number '{key}'"
    latents, hidden = config["arch"].get("latents"), config["arch"].get("hidden", [])
    if not isinstance(latents, list) or not all(isinstance(size, int) for size in latents):
        return "no list 'arch.latents'"
    if not isinstance(hidden, list) or not all(isinstance(sizes, list) for sizes in hidden):
        return "no list 'arch.hidden'"
    parent = config.get("init_from")
    fault = None if parent is None else config_fault(parent)
    return f"init_from: {fault}" if fault else None
