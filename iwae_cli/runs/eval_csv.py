"""The names of an evaluation: columns of eval.csv, arrays of per_image.npz."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# What `estimator` says of log (1/k) sum_i w_i
L_K = "L_k"
PRECISION = "float32"
# Relative difference between a mean and a sum over images that rounding makes
SAME = 1e-9
# Columns that a report cannot do without
COLUMNS = ("passes", "steps", "split", "images", "seed", "estimator", "k", "nll")
# What rows older than these columns are
EARLIER: dict[str, Any] = {"precision": PRECISION, "bound_kind": "lower", "parameters": ""}
EARLIER |= {"likelihood": "bernoulli", "bias_jackknife": math.nan, "share_khat_above_0.7": math.nan}


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
        parameters: Digest of the model's; empty where it is not known, which agrees with any.
        k: Samples an image.
    """

    steps: int
    split: str
    images: int
    seed: int
    estimator: str = L_K
    precision: str = PRECISION
    parameters: str = ""
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
            same = evaluations[name] == value
            if name == "parameters":
                same |= (evaluations[name] == "") | (value == "")
            evaluations = evaluations[same]
        if evaluations.empty:
            return None
        return {str(name): value for name, value in evaluations.iloc[-1].to_dict().items()}


KEY = [field.name for field in fields(EvaluationKey)]


# What the name of an array tells of its evaluation: of several at other steps it is the last one's
ARRAY_KEY = [name for name in KEY if name not in ("steps", "parameters")]


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
    whole = evaluations.assign(**missing)
    return whole.assign(parameters=whole["parameters"].astype(object).fillna("").astype(str))


def without_stale(known: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Return stored rows without those that a model of the same run cannot have had."""
    if known.empty or not {"parameters", "identity"} <= {*new}:
        return known
    own = {name: [str(new[name].iloc[-1]), ""] for name in ("identity", "parameters")}
    same = ~known["steps"].isin(new["steps"]) | known["parameters"].isin(own["parameters"])
    return known[same & known.get("identity", same.map(lambda _: "")).isin(own["identity"])]


def agrees(
    row: Mapping[str, Any], log_p: NDArray[np.float64] | None, *, needed: bool = False
) -> bool:
    """Whether a row of eval.csv is that of the estimates of single images stored beside it.

    Args:
        row: Of eval.csv.
        log_p: Those estimates, nats, [N]; None if there are none.
        needed: Whether there must be some.
    """
    if log_p is None:
        return not needed
    nll = float(row["nll"])
    fits = log_p.shape == (int(row["images"]),) and log_p.dtype == np.float64
    return fits and bool(abs(nll + float(log_p.mean())) <= SAME * max(1.0, abs(nll)))
