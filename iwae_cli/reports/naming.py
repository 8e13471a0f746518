"""What a run is called in tables: its protocol, data, objective and architecture."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from iwae_cli.core.config import BERNOULLI, Arch, Config
from iwae_cli.core.flattening import flattened
from iwae_cli.reports import published
from iwae_cli.reports.run_record import RunRecord

# What two runs may differ in and still stand in one table; all else is the protocol.
TABLE_KEYS = (
    "objective.",
    "arch.latents",
    "arch.hidden",
    "dataset.",
    "likelihood.name",
    "init_from",
)


def cells_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config as cells of a table, by dotted keys; lists become JSON."""
    values = flattened(config)
    return {k: json.dumps(v) if isinstance(v, list) else v for k, v in values.items()}


def identity_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flattened keys of a config, and of its parents, that change the parameters."""
    skipped = {f.name for f in fields(Config) if f.metadata.get("identity") is False}
    unnamed = {f.name for f in fields(Arch) if f.metadata.get("identity") is False}
    later = {f.name: f.default for f in fields(Arch) if f.metadata.get("identity") == "if set"}
    own = {key: node for key, node in config.items() if key not in skipped and node is not None}
    likelihood = config.get("likelihood", BERNOULLI)
    if likelihood != BERNOULLI:
        own["likelihood"] = likelihood
    own["arch"] = {
        key: value
        for key, value in config["arch"].items()
        if key not in unnamed and value != later.get(key)
    }
    if config.get("init_from"):
        own["init_from"] = identity_keys(config["init_from"])
    return {key: value for key, value in cells_of(own).items() if value is not None}


def protocol_keys(run: RunRecord) -> dict[str, Any]:
    """Return the keys of a run's config that say how it was trained, whatever the table's cell."""
    flat = identity_keys(run.config)
    return {
        key: value
        for key, value in flat.items()
        if key not in ("k", "seed", "optimizer.passes") and not key.startswith(TABLE_KEYS)
    }


def protocol_names(runs: Sequence[RunRecord]) -> list[str]:
    """Return a name of each run's protocol: optimiser and passes, and what else tells it apart."""
    keys = [protocol_keys(run) for run in runs]
    texts = passes_names(runs, keys)
    short = [f"{own['optimizer.name']}, {text}" for own, text in zip(keys, texts, strict=True)]
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


def passes_names(runs: Sequence[RunRecord], keys: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the passes of each run, such as `120 passes`.

    Where runs that are otherwise trained alike, on the same data, have one number of passes for
    each k, which rises with k, it is one protocol: `130/200 passes for k=1/5`.

    Args:
        runs: All of them.
        keys: `protocol_keys` of each.
    """
    alike: dict[str, dict[int, set[int | None]]] = {}
    groups = []
    for run, own in zip(runs, keys, strict=True):
        stage = bool(run.config.get("init_from"))
        groups.append(repr((sorted(own.items()), data_of(run)["hash"], stage)))
        alike.setdefault(groups[-1], {}).setdefault(run.config["k"], set()).add(run.total_passes)
    names = []
    for run, group in zip(runs, groups, strict=True):
        of_k = sorted(alike[group].items())
        passes = [count or 0 for _, found in of_k for count in found]
        rising = len(passes) == len(of_k) and passes == sorted(passes) and len(set(passes)) > 1
        if rising:
            ks = "/".join(str(k) for k, _ in of_k)
            names.append(f"{'/'.join(map(str, passes))} passes for k={ks}")
        else:
            count = run.total_passes
            names.append("1 pass" if count == 1 else f"{count} passes")
    return names


def natural(name: str) -> str:
    """Return a sorting key by which 40 passes come before 370."""
    return re.sub(r"\d+", lambda digits: digits[0].zfill(9), name)


def data_names(runs: Sequence[RunRecord]) -> list[str]:
    """Return what each run's data are called, with the hash where one name stands for several.

    Likelihoods other than Bernoulli are named too, for theirs are never compared with each other.
    """
    found = {(data_of(run)["label"], data_of(run)["hash"]) for run in runs}
    versions = Counter(label for label, _ in found)
    names = []
    for run in runs:
        label, digest = data_of(run)["label"], data_of(run)["hash"]
        name = f"{label} ({str(digest)[:8]})" if versions[label] > 1 else label
        names.append(", ".join([name, *likelihood_of(run)]))
    return names


def likelihood_of(run: RunRecord) -> list[str]:
    """Return what a run's likelihood is called, nothing for Bernoulli."""
    likelihood = run.config.get("likelihood", BERNOULLI)
    words = {"continuous_bernoulli": "continuous Bernoulli", "gaussian": "Gaussian"}
    name = str(likelihood["name"])
    return [] if likelihood == BERNOULLI else [f"{words.get(name, name)} likelihood"]


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
