"""The names of an evaluation: columns of eval.csv, arrays of per_image.npz."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

# What `estimator` says of log (1/k) sum_i w_i
L_K = "L_k"
# Columns that tell one evaluation of a run from another.
EVALUATION_KEY = ["steps", "k", "split", "images", "seed", "estimator", "precision"]
# What rows older than these columns are.
EARLIER = {"precision": "float32", "bound_kind": "lower"}


def with_later_columns(evaluations: pd.DataFrame) -> pd.DataFrame:
    """Return rows of eval.csv with the columns that the first version did not write."""
    missing = {name: value for name, value in EARLIER.items() if name not in evaluations}
    return evaluations.assign(**missing)


def per_image_name(key: Mapping[str, Any]) -> str:
    """Return the name in per_image.npz of the images' estimates with this key of eval.csv."""
    usual = {"estimator": L_K, "precision": "float32"}
    other = "".join(f"_{key[name]}" for name, value in usual.items() if key[name] != value)
    return f"{key['split']}_k{key['k']}_n{key['images']}_seed{key['seed']}{other}"


class EvaluationKey(NamedTuple):
    """What tells one array of per_image.npz from another."""

    split: str
    k: int
    images: int
    seed: int


def evaluation_key(name: str) -> EvaluationKey | None:
    """Return what the name of an array in per_image.npz stands for, None if it is unknown."""
    match = re.fullmatch(r"(\w+)_k(\d+)_n(\d+)_seed(\d+)", name)
    if not match:
        return None
    split, *numbers = match.groups()
    return EvaluationKey(split, *map(int, numbers))
