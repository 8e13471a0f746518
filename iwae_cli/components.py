"""The components that a config names: data source, objective, recipe, device."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from iwae_cli import objectives
from iwae_cli.core import config
from iwae_cli.core.config import Config
from iwae_cli.core.errors import ConfigError
from iwae_cli.data import registry
from iwae_cli.data.dataset import Source
from iwae_cli.objectives.base import Objective
from iwae_cli.recipes import RECIPES, Recipe


@dataclass(frozen=True)
class Components:
    """The components that a config names, made of their options."""

    source: Source
    objective: Objective
    recipe: Recipe


def components_of(settings: Config) -> Components:
    """Return the components of a config.

    Raises:
        ConfigError: One line with the faults of all of them.
    """
    faults, found = [], []
    finders = (
        (registry.find, settings.dataset),
        (find_objective, settings.objective),
        (find_recipe, settings.optimizer),
    )
    for find, values in finders:
        try:
            found.append(find(values))
        except ConfigError as error:
            faults.append(str(error))
    if faults:
        raise ConfigError("; ".join(faults))
    check_ks(settings, *found[1:])  # type: ignore[arg-type]  # objective and schedule
    return Components(*found)  # type: ignore[arg-type]  # one of each, in this order


def check_ks(settings: Config, objective: Objective, recipe: Recipe) -> None:
    """Raise ConfigError unless the objective is defined for every k that training will use."""
    ks = {recipe.k_at(i, settings.k) for i in range(recipe.total_passes)}
    for k in sorted(ks, reverse=True):
        try:
            objective.check_k(k)
        except ValueError as error:
            where = "" if k == settings.k else " of optimizer.k_growth"
            raise ConfigError(f"objective: {error}{where}") from None


def find_objective(values: dict[str, Any]) -> Objective:
    """Return the estimator of a config node, `name` and its parameters."""
    if values["name"] not in objectives.names():
        raise ConfigError(config.unknown("objective", values["name"], objectives.names()))
    return config.build(objectives.find(values["name"]), values, where="objective")


def find_recipe(values: dict[str, Any]) -> Recipe:
    """Return the optimiser and schedule of a config node, `name` and its options."""
    if values["name"] not in RECIPES:
        raise ConfigError(config.unknown("optimizer", values["name"], RECIPES))
    return config.build(RECIPES[values["name"]], values, where="optimizer")


def resolved(settings: Config, components: Components) -> dict[str, Any]:
    """Return a config with every option of every component, as plain types."""
    return {
        **dataclasses.asdict(settings),
        "dataset": dataclasses.asdict(components.source),  # type: ignore[call-overload]  # any dataclass
        "objective": dataclasses.asdict(components.objective),  # type: ignore[call-overload]  # any dataclass
        "optimizer": dataclasses.asdict(components.recipe),
    }
