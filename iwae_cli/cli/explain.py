"""What a user can do about an override that does not fit: the keys that there are."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from iwae_cli.cli.overrides import in_hydra, in_shell

# What other programs call a key
SYNONYMS = {
    "epochs": "optimizer.passes",
    "num_epochs": "optimizer.passes",
    "epoch": "optimizer.passes",
    "iterations": "optimizer.passes",
    "lr": "optimizer.learning_rate",
    "batch": "optimizer.batch_size",
    "data": "dataset",
    "model": "arch",
    "architecture": "arch",
    "network": "arch",
    "loss": "objective",
    "estimator": "objective",
    "latent_dim": "arch.latents",
    "latent": "arch.latents",
    "z_dim": "arch.latents",
    "samples": "k",
    "num_samples": "k",
    "dtype": "precision",
    "output": "outputs",
    "workers": "threads",
    "resume": "init_from",
}


@dataclass(frozen=True)
class Known:
    """The keys that there are.

    Attributes:
        values: The composed configuration, with the groups that were chosen on the command line.
        folders: Folders of YAML files.
    """

    values: Mapping[str, Any]
    folders: Iterable[Path]

    def groups(self) -> list[str]:
        """Return the names of config groups."""
        return sorted({f.name for top in self.folders for f in top.iterdir() if f.is_dir()})

    def having(self, group: str, leaf: str) -> list[str]:
        """Return the names in a group whose YAML file has a key."""
        files = [file for top in self.folders for file in (top / group).glob("*.yaml")]
        return sorted({file.stem for file in files if leaf in keys_in(file)})

    def dotted(self) -> list[str]:
        """Return all keys, and those of nodes with their node's name before them."""
        inner = [f"{top}.{leaf}" for top, node in self.values.items() for leaf in keys_of(node)]
        return [*self.groups(), *map(str, self.values), *inner]


def keys_in(file: Path) -> list[str]:
    """Return the top-level keys of a YAML file, none where it cannot be read."""
    try:
        return keys_of(OmegaConf.load(file))
    except (OmegaConfBaseException, YAMLError, OSError):
        return []


def keys_of(node: object) -> list[str]:
    """Return the keys of a node, none where it is a value."""
    return [str(key) for key in node] if isinstance(node, Mapping) else []


def unknown_key(key: str, known: Known, override: str) -> str:
    """Return the message for a key that is not there, with what is.

    Args:
        key: As Hydra names it, dotted where nested.
        known: The keys that there are.
        override: As it was typed; empty where that is not known.
    """
    top, _, leaf = key.partition(".")
    if top == "hydra":
        return f"unknown key '{key}': 'iwae train --cfg hydra' shows Hydra's"
    if top == "init_from" and leaf:
        return of_parent(key, leaf, known, override)
    node = known.values.get(top)
    if leaf and isinstance(node, Mapping):
        return of_node(top, leaf, node, known)
    nearest = nearest_key(key, known)
    hint = f"did you mean '{nearest}'? " if nearest else ""
    return f"unknown key '{key}': {hint}'iwae train --cfg job' shows all keys"


def of_node(top: str, leaf: str, node: Mapping[str, Any], known: Known) -> str:
    """Return the message for a key that the node of a group does not have."""
    named = f"{top}={node['name']}" if "name" in node else top
    others = known.having(top, leaf)
    have = f" ({listed(others)} {'has' if len(others) == 1 else 'have'})" if others else ""
    own = sorted(key for key in keys_of(node) if key != "name" or top == "arch")
    nearest = difflib.get_close_matches(leaf.lower(), own, n=1, cutoff=0.5)
    if synonym := SYNONYMS.get(leaf, "").removeprefix(f"{top}."):
        nearest = [synonym] if synonym in own else nearest
    hint = f"did you mean '{top}.{nearest[0]}'? " if nearest and not others else ""
    keys = f"its keys are {', '.join(own)}" if own else "it has no keys"
    return f"{named} has no '{leaf}'{have}: {hint}{keys}"


def of_parent(key: str, leaf: str, known: Known, override: str) -> str:
    """Return the message for a key of the run to start from."""
    known_here = leaf.partition(".")[0] in known.values
    if not known_here:
        nearest = nearest_key(leaf, known)
        hint = f"did you mean '+init_from.{nearest}'? " if nearest else ""
        return f"unknown key '{key}': {hint}init_from takes the keys of a run"
    if known.values.get("init_from") is None:
        stages = listed(known.having("second_stage", "init_from"), "or")
        return f"'{key}': this run starts from no other; choose one with second_stage={stages}"
    return f"'{key}' is not among the keys that differ yet: write {in_shell('+' + override)}"


def nearest_key(key: str, known: Known) -> str | None:
    """Return the known key, dotted where nested, that looks most like `key`."""
    dotted = known.dotted()
    if (synonym := SYNONYMS.get(key.lower())) in dotted:
        return synonym
    leaves = {name.rpartition(".")[2].lower(): name for name in reversed(dotted)}
    names = leaves | {name.lower(): name for name in dotted}
    matches = difflib.get_close_matches(key.lower(), names, n=1, cutoff=0.5)
    return names[matches[0]] if matches else None


def listed(names: list[str], last: str = "and") -> str:
    """Return names as a sentence lists them."""
    return f" {last} ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def unreadable(override: str) -> str:
    """Return the message for an override that cannot be parsed, with what to type."""
    key, _, value = override.partition("=")
    if not re.fullmatch(r"[+]*[\w./@-]+", key):
        return f"cannot read '{override}': overrides are written key=value, as in k=5"
    if value.startswith("="):
        return f"cannot read '{override}': write {key}={value.lstrip('=')}"
    if value.count("[") != value.count("]") or value.count("{") != value.count("}"):
        return f"cannot read '{override}': a bracket is open; write {key}=[1,5], in quotes"
    if "," in value:
        values = ",".join(filter(None, value.split(",")))
        return f"cannot read '{override}': to sweep over values, write -m {key}={values}"
    quoted = f"{key}={in_hydra(value)}"
    return f"cannot read '{override}': quote what has special characters: {in_shell(quoted)}"


def of_yaml(error: YAMLError) -> str:
    """Return the message for a YAML file that cannot be read: file, line and fault."""
    mark = getattr(error, "problem_mark", None)
    place = f"{mark.name}, line {mark.line + 1}: " if mark else ""
    return f"{place}{getattr(error, 'problem', None) or error}; correct this YAML"
