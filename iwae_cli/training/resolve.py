"""A config with all that it names, found and loaded: identity, folder, parents."""

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from iwae_cli.core.config import Config
from iwae_cli.core.device import device_of, precision_of
from iwae_cli.core.errors import ConfigError
from iwae_cli.core.identity import identity
from iwae_cli.data import registry
from iwae_cli.data.binarisation import FIXED, Binarisation
from iwae_cli.data.dataset import Dataset
from iwae_cli.runs.folder import RunFolder, run_name
from iwae_cli.training.components import Components, components_of, identity_parts


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
