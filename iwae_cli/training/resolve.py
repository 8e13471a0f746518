"""A config with all that it names, found and loaded: identity, folder, parents."""

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from iwae_cli import objectives
from iwae_cli.core import config, trackers
from iwae_cli.core.config import Config
from iwae_cli.core.device import check_compiler, device_of, precision_of
from iwae_cli.core.errors import ConfigError
from iwae_cli.core.identity import identity, identity_fields
from iwae_cli.data import registry
from iwae_cli.data.binarisation import FIXED, Binarisation
from iwae_cli.data.dataset import Dataset, Source
from iwae_cli.models import likelihoods
from iwae_cli.models.likelihoods.base import Likelihood
from iwae_cli.objectives.base import Objective
from iwae_cli.runs.folder import RunFolder, run_name
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
        "outputs": str(near(settings.outputs)),  # no path of one machine in a file of results
        "dataset": dataclasses.asdict(components.source),  # type: ignore[call-overload]  # any dataclass
        "objective": dataclasses.asdict(components.objective),  # type: ignore[call-overload]  # any dataclass
        "optimizer": dataclasses.asdict(components.recipe),
        "likelihood": dataclasses.asdict(components.likelihood),
    }


def near(path: str) -> Path:
    """Return a path from the current folder where it is below it, else as it is."""
    whole, here = Path(path), Path.cwd()
    return whole.relative_to(here) if whole.is_relative_to(here) else whole


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


@dataclass(frozen=True)
class ResolvedRun:
    """A config with all that it names, found and loaded."""

    settings: Config
    components: Components
    dataset: Dataset
    device: torch.device
    parent: "ResolvedRun | None"

    @property
    def precision(self) -> str:
        """The precision of the matrix products, never `auto`."""
        return precision_of(self.settings.precision, self.device)

    @property
    def binarisation(self) -> Binarisation:
        """That of the data, or `NONE` where the likelihood takes grey or real values."""
        return self.dataset.binarisation.if_wanted(self.components.likelihood.binarises)

    @cached_property
    def identity(self) -> str:
        """SHA-256 over the config and data that tell the run, in hex; versions are not in it."""
        parts = {
            **identity_parts(self.settings, self.components),
            "precision": self.precision,
            "dataset": self.dataset.content_hash,
        }
        if self.parent:
            parts["init_from"] = self.parent.identity
        return identity(parts)

    @cached_property
    def folder(self) -> RunFolder:
        """The folder named after what the run is; it need not exist.

        A folder whose name has the same hash at its end is the same run under an earlier name.
        """
        settings = self.settings
        name = run_name(
            dataset=self.dataset.name,
            sizes=settings.arch.sizes,
            objective=settings.objective["name"],
            k=settings.k,
            seed=settings.seed,
            identity=self.identity,
        )
        path = near(settings.outputs) / "runs" / name
        earlier = [] if path.exists() else sorted(path.parent.glob(f"*-{self.identity[:8]}"))
        return RunFolder(earlier[0] if earlier else path)

    @cached_property
    def plain(self) -> dict[str, Any]:
        """The config with every option of every component, as plain types."""
        plain = resolved(self.settings, self.components)
        return {
            **plain,
            "precision": self.precision,
            "init_from": self.parent.plain if self.parent else None,
        }

    def chain(self) -> list["ResolvedRun"]:
        """Return the run behind its parent, its parent's parent and so on, the oldest first."""
        return [*(self.parent.chain() if self.parent else []), self]


def prepare(settings: Config) -> ResolvedRun:
    """Return a config with its components, data and device, and with those of its parents.

    Raises:
        ConfigError: A value that cannot be run.
        DataError: The data set is missing or damaged.
    """
    components = components_of(settings)
    dataset = registry.loaded(components.source, real=components.likelihood.real)
    if dataset.binarisation is FIXED and not components.likelihood.binary:
        raise ConfigError(
            f"every pixel of {dataset.label} is 0 or 1, where the density of "
            f"{components.likelihood.name} has no maximum: use likelihood=bernoulli"
        )
    parent = settings.parent()
    return ResolvedRun(
        settings,
        components,
        dataset,
        device_of(settings.device),
        prepare(parent) if parent else None,
    )
