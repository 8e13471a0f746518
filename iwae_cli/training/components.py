"""The components that a config names, found and checked."""

from dataclasses import dataclass
from typing import Any

from iwae_cli import objectives
from iwae_cli.core import trackers
from iwae_cli.core.building import build
from iwae_cli.core.config import Config
from iwae_cli.core.device import check_compiler, device_of
from iwae_cli.core.errors import ConfigError, unknown
from iwae_cli.core.identity import identity_fields
from iwae_cli.data import registry
from iwae_cli.data.dataset import Source
from iwae_cli.models import likelihoods
from iwae_cli.models.likelihoods.base import Likelihood
from iwae_cli.objectives.base import Objective
from iwae_cli.training.recipes import RECIPES
from iwae_cli.training.recipes.base import Recipe


@dataclass(frozen=True)
class Components:
    """The components that a config names, made of their options."""

    source: Source
    objective: Objective
    recipe: Recipe
    likelihood: Likelihood


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
        (likelihoods.find, settings.likelihood),
    )
    for find, values in finders:
        try:
            found.append(find(values))
        except ConfigError as error:
            faults.append(str(error))
    if faults:
        raise ConfigError("; ".join(faults))
    components = Components(*found)  # type: ignore[arg-type]  # one of each, in this order
    check_ks(settings, components.objective, components.recipe)
    return components


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
        raise ConfigError(unknown("objective", values["name"], objectives.names()))
    return build(objectives.find(values["name"]), values, where="objective")


def find_recipe(values: dict[str, Any]) -> Recipe:
    """Return the optimiser and schedule of a config node, `name` and its options."""
    if values["name"] not in RECIPES:
        raise ConfigError(unknown("optimizer", values["name"], RECIPES))
    return build(RECIPES[values["name"]], values, where="optimizer")


def identity_parts(settings: Config, components: Components) -> dict[str, Any]:
    """Return what of a config joins a run's identity, but for what its data and parent are."""
    likelihood = components.likelihood
    return {
        **identity_fields(settings),
        **(
            {"likelihood": identity_fields(likelihood)} if likelihood != likelihoods.DEFAULT else {}
        ),
        "arch": identity_fields(settings.arch),
        "objective": identity_fields(components.objective),
        "optimizer": identity_fields(components.recipe),
    }


def validate(settings: Config) -> None:
    """Check everything of a config that needs neither data nor time.

    Raises:
        ConfigError: One line with what is wrong.
    """
    components = components_of(settings)
    trackers.check(settings.log)
    device = device_of(settings.device)
    if settings.compile:
        check_compiler(device)
        if not components.recipe.all_rows:
            raise ConfigError(
                "compile=true is for steps whose shapes do not depend on the data: add "
                "optimizer.all_rows=true, or leave compile=true out"
            )
    if parent := settings.parent():
        validate(parent)
        check_parent(settings, components, parent)


def check_parent(settings: Config, components: Components, parent: Config) -> None:
    """Check that a run can start from the parameters and optimiser state of another.

    Raises:
        ConfigError: They differ in what both must share.
    """
    for node in ("latents", "hidden"):
        ours, theirs = getattr(settings.arch, node), getattr(parent.arch, node)
        if ours != theirs:
            raise ConfigError(
                f"init_from.arch.{node} is {theirs}, this run's is {ours}: parameters carry "
                "over between equal architectures alone"
            )
    if settings.dataset["name"] != parent.dataset["name"]:
        raise ConfigError(
            f"init_from.dataset is {parent.dataset['name']}, this run's is "
            f"{settings.dataset['name']}: both must have the same images"
        )
    other_components = components_of(parent)
    if components.likelihood != other_components.likelihood:
        raise ConfigError(
            f"init_from.likelihood is {parent.likelihood}, this run's is "
            f"{settings.likelihood}: both must have the same"
        )
    own, other = components.recipe, other_components.recipe
    if own.algorithm is not other.algorithm:
        able = ", ".join(n for n, one in RECIPES.items() if one.algorithm is other.algorithm)
        raise ConfigError(
            f"optimizer {own.name} cannot carry on the state of init_from.optimizer "
            f"{other.name}; optimizers that can: {able}"
        )
