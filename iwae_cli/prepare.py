"""A config with all that it names, found and loaded: identity, folder, parents."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from iwae_cli.components import Components, components_of, resolved
from iwae_cli.core import config
from iwae_cli.core.config import Config
from iwae_cli.core.device import check_compiler, device_of, precision_of
from iwae_cli.core.errors import ConfigError
from iwae_cli.data import registry
from iwae_cli.data.dataset import Dataset
from iwae_cli.runs.folder import RunFolder


def validate(settings: Config) -> None:
    """Check everything of a config that needs neither data nor time.

    Raises:
        ConfigError: One line with what is wrong.
    """
    components = components_of(settings)
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
        own, other = components.recipe, components_of(parent).recipe
        if own.algorithm is not other.algorithm:
            raise ConfigError(
                f"optimizer {own.name} cannot carry on the state of init_from.optimizer "
                f"{other.name}; name one of the same kind"
            )


@dataclass(frozen=True)
class Run:
    """A config with all that it names, found and loaded."""

    settings: Config
    components: Components
    dataset: Dataset
    device: torch.device
    parent: "Run | None"

    @property
    def precision(self) -> str:
        """The precision of the matrix products, never `auto`."""
        return precision_of(self.settings.precision, self.device)

    @cached_property
    def identity(self) -> str:
        """SHA-256 over all that can change the run's parameters, in hex."""
        parts = {
            **config.identity_fields(self.settings),
            "precision": self.precision,
            "dataset": self.dataset.content_hash,
            "arch": config.identity_fields(self.settings.arch),
            "objective": config.identity_fields(self.components.objective),
            "optimizer": config.identity_fields(self.components.recipe),
        }
        if self.parent:
            parts["init_from"] = self.parent.identity
        return config.identity(parts)

    @cached_property
    def folder(self) -> RunFolder:
        """The folder named after what the run is; it need not exist."""
        settings = self.settings
        name = (
            f"{self.dataset.name}-{settings.arch.name}-{settings.objective['name']}"
            f"-k{settings.k}-seed{settings.seed}-{self.identity[:8]}"
        )
        return RunFolder(Path(settings.outputs) / "runs" / name)

    @cached_property
    def plain(self) -> dict[str, Any]:
        """The config with every option of every component, as plain types."""
        plain = resolved(self.settings, self.components)
        return {
            **plain,
            "precision": self.precision,
            "init_from": self.parent.plain if self.parent else None,
        }

    def chain(self) -> list["Run"]:
        """Return the run behind its parent, its parent's parent and so on, the oldest first."""
        return [*(self.parent.chain() if self.parent else []), self]


def prepare(settings: Config) -> Run:
    """Return a config with its components, data and device, and with those of its parents.

    Raises:
        ConfigError: A value that cannot be run.
        DataError: The data set is missing or damaged.
    """
    components = components_of(settings)
    dataset = registry.loaded(components.source)
    parent = settings.parent()
    return Run(
        settings,
        components,
        dataset,
        device_of(settings.device),
        prepare(parent) if parent else None,
    )
