"""Estimators by what is typed, such as `jvi,order=1`."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from iwae_cli import objectives
from iwae_cli.core.building import build
from iwae_cli.core.errors import ConfigError, unknown
from iwae_cli.objectives.base import Objective
from iwae_cli.runs.eval_csv import L_K

# What `iwae eval --estimator` calls them, and the objectives whose bounds they are
ESTIMATORS = {L_K: "iwae", "jvi": "jvi", "vr": "vr"}
# And the one that makes weights of its own, see evaluation/chains.py
ANNEALED = "ais"


class Estimator(NamedTuple):
    """An estimator of log p(x) with the name that tables give it, such as `jvi(order=1)`."""

    label: str
    objective: Objective


def find_named(kind: str, text: str, known: Mapping[str, str] | None = None) -> Estimator:
    """Return the estimator that a name, or one with parameters such as `vr,alpha=0`, stands for.

    Args:
        kind: What messages call it.
        text: `NAME[,KEY=VALUE...]`.
        known: Allowed names and the objectives they mean; None for all objectives.

    Raises:
        ConfigError: An unknown name or parameter, or one out of range.
    """
    known = known or {name: name for name in objectives.names()}
    name, *pairs = text.split(",")
    if name not in known:
        others = [ANNEALED] if known is ESTIMATORS else []
        raise ConfigError(unknown(kind, name, [*known, *others]))
    if several := [pair for pair in pairs if pair in known]:
        words = " ".join(f"--{kind} {one}" for one in (name, *several))
        raise ConfigError(
            f"cannot read '{text}': repeat --{kind}, as in {words}"
            if kind == "objective"
            else f"cannot read '{text}': one {kind} at a time"
        )
    values = {"name": known[name], **parameters_of(kind, pairs)}
    objective = build(objectives.find(values["name"]), values, where=kind)
    parameters = dataclasses.asdict(objective)  # type: ignore[call-overload]  # any dataclass
    options = ",".join(f"{key}={value}" for key, value in parameters.items() if key != "name")
    return Estimator(f"{name}({options})" if options else name, objective)


def parameters_of(kind: str, pairs: Sequence[str]) -> dict[str, str]:
    """Return parameters that are written key=value; `kind` is what messages call their owner.

    Raises:
        ConfigError: One is written otherwise.
    """
    if bad := [pair for pair in pairs if "=" not in pair]:
        raise ConfigError(f"{kind}: cannot read '{bad[0]}': parameters are written key=value")
    return dict(pair.split("=", 1) for pair in pairs)


def check_k(estimators: Iterable[Estimator], ks: Sequence[int]) -> None:
    """Raise ConfigError unless there are numbers of samples, each allowed by each estimator."""
    if not ks or min(ks) < 1:
        raise ConfigError(f"k must be at least 1, got {list(ks)}")
    for estimator in estimators:
        for k in ks:
            try:
                estimator.objective.check_k(k)
            except ValueError as error:
                raise ConfigError(f"{estimator.label}: {error}") from None
