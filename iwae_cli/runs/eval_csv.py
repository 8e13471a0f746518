"""The names of an evaluation: columns of eval.csv, arrays of per_image.npz."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import pandas as pd

# What `estimator` says of log (1/k) sum_i w_i
L_K = "L_k"
PRECISION = "float32"
# Columns that a report cannot do without
COLUMNS = ("passes", "steps", "split", "images", "seed", "estimator", "k", "nll")
# What rows older than these columns are
EARLIER: dict[str, Any] = {"precision": PRECISION, "bound_kind": "lower"}
EARLIER |= {"bias_jackknife": math.nan, "share_khat_above_0.7": math.nan}


@dataclass(frozen=True, kw_only=True)
class EvaluationKey:
    """What tells one evaluation of a run from another: columns of eval.csv.

    Attributes:
        steps: Of training, when it was made.
        split: Of the data set.
        images: Their number.
        seed: Of binarisation and noise.
        estimator: Its label.
        precision: Of the matrix products.
        k: Samples an image.
    """

    steps: int
    split: str
    images: int
    seed: int
    estimator: str = L_K
    precision: str = PRECISION
    k: int

    def array_name(self) -> str:
        """Return the name in per_image.npz of the images' estimates."""
        usual = {"estimator": L_K, "precision": PRECISION}
        own = {name: getattr(self, name) for name in usual}
        other = "".join(f"_{own[name]}" for name, value in usual.items() if own[name] != value)
        return f"{self.split}_k{self.k}_n{self.images}_seed{self.seed}{other}"

    def k_hat_name(self) -> str:
        """Return the name in per_image.npz of the images' Pareto k-hat."""
        return f"{self.array_name()}_khat"

    def row_in(self, evaluations: pd.DataFrame) -> dict[str, Any] | None:
        """Return the last row of eval.csv with this key, if there is one."""
        for name, value in asdict(self).items():
            evaluations = evaluations[evaluations[name] == value]
        if evaluations.empty:
            return None
        return {str(name): value for name, value in evaluations.iloc[-1].to_dict().items()}


KEY = [field.name for field in fields(EvaluationKey)]


def key_of(row: Mapping[str, Any]) -> EvaluationKey:
    """Return the key of a row of eval.csv."""
    return EvaluationKey(**{name: row[name] for name in KEY})


class ArrayKey(NamedTuple):
    """What tells one array of per_image.npz, by L_k in float32, from another."""

    split: str
    k: int
    images: int
    seed: int


def array_key(name: str) -> ArrayKey | None:
    """Return what the name of an array in per_image.npz stands for, None for any other name."""
    match = re.fullmatch(r"(\w+)_k(\d+)_n(\d+)_seed(\d+)", name)
    if not match:
        return None
    split, *numbers = match.groups()
    return ArrayKey(split, *map(int, numbers))


def by_l_k(evaluations: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of eval.csv by L_k in float32, which results are compared by."""
    usual = (evaluations["estimator"] == L_K) & (evaluations["precision"] == PRECISION)
    return evaluations[usual]


def with_later_columns(evaluations: pd.DataFrame) -> pd.DataFrame:
    """Return rows of eval.csv with the columns that the first version did not write."""
    missing = {name: value for name, value in EARLIER.items() if name not in evaluations}
    return evaluations.assign(**missing)
