"""Checkpoints: all that a run is, in one file of plain types."""

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from iwae_cli.core import config as configs
from iwae_cli.core.config import BERNOULLI, Config, require
from iwae_cli.core.errors import CheckpointError, ConfigError
from iwae_cli.core.identity import FORMAT_VERSION
from iwae_cli.models.iwae import IWAE
from iwae_cli.models.loading import check_parameters, network_of
from iwae_cli.runs.checkpoint_file import read_content, write_content
from iwae_cli.runs.training_state import TrainedOn, TrainingState, fields_of, is_hash


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """All that a run is; what it was read from or is made of has been checked.

    Attributes:
        config: With every option of every component.
        identity: SHA-256 over all of the config that can change the parameters, in hex.
        data: What it was trained on.
        model: The parameters by name.
        optimizer: State of the optimiser; empty in an exported model.
        training: How far training is.
        versions: Of what can change results by rounding, when it was written.
    """

    config: dict[str, Any]
    identity: str
    data: TrainedOn
    model: dict[str, Tensor]
    optimizer: dict[str, Any] = field(default_factory=dict)
    training: TrainingState
    versions: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(isinstance(self.identity, str) and is_hash(self.identity), "identity is no SHA-256")
        for name in ("optimizer", "versions"):
            require(isinstance(getattr(self, name), dict), f"{name} is no mapping")
        require(
            isinstance(self.model, dict)
            and all(isinstance(name, str) for name in self.model)
            and all(isinstance(t, Tensor) for t in self.model.values())
            and all(t.dtype in (torch.float32, torch.float64) for t in self.model.values()),
            "model is no mapping of parameters",
        )
        check_parameters(self.settings, self.data.pixels, self.model)

    @cached_property
    def settings(self) -> Config:
        """The config, checked.

        Raises:
            ValueError: It is not one.
        """
        nodes = ("arch", "dataset", "objective", "optimizer")
        values = self.config if isinstance(self.config, dict) else {}
        for node in nodes:
            found = values.get(node)
            require(
                isinstance(found, dict) and all(isinstance(k, str) for k in found),
                f"config has no {node}",
            )
        for node in nodes[1:]:
            require(isinstance(values[node].get("name"), str), f"config.{node} has no name")
        likelihood = values.get("likelihood", BERNOULLI)
        require(
            isinstance(likelihood, dict)
            and all(isinstance(k, str) for k in likelihood)
            and isinstance(likelihood.get("name"), str),
            "config.likelihood has no name",
        )
        require(all(isinstance(key, str) for key in values), "config has a key that is no text")
        require(isinstance(values.get("then", {}), dict), "config.then is no mapping")
        try:
            return configs.parse(values)
        except ConfigError as error:
            raise ValueError(f"config: {error}") from None

    @cached_property
    def parameters_digest(self) -> str:
        """SHA-256 of the parameters, in hex."""
        return digest_of(self.model)

    def network(self) -> IWAE:
        """Return the model, on the CPU, in evaluation mode."""
        network = network_of(self.settings, self.data.pixels)
        network.load_state_dict(self.model)
        return network.eval().requires_grad_(False)

    def write(self, path: Path) -> None:
        """Write the file; an older one is kept until the new one is whole.

        Raises:
            CheckpointError: The file could not be written; the older one is untouched.
        """
        training = {
            f.name: getattr(self.training, f.name) for f in dataclasses.fields(TrainingState)
        }
        training["metrics"] = [list(row) for row in self.training.metrics]
        content = {f.name: getattr(self, f.name) for f in dataclasses.fields(Checkpoint)}
        content |= {"data": dataclasses.asdict(self.data), "training": training}
        write_content(path, {"format": FORMAT_VERSION, **content})

    @classmethod
    def read(cls, path: Path) -> "Checkpoint":
        """Return a checkpoint, its tensors on the CPU.

        Raises:
            CheckpointError: The file is missing, truncated, no checkpoint, has another format
                number, or holds what no run can have written.
        """
        content = read_content(path)
        version, written_by = content.get("format", FORMAT_VERSION), content.get("versions")
        version = version if isinstance(version, int) else "unknown"
        if version != FORMAT_VERSION:
            writer = written_by.get("iwae") if isinstance(written_by, dict) else "unknown"
            raise CheckpointError(
                f"{path} has format {version}, this version of iwae reads format "
                f"{FORMAT_VERSION}; use the version that wrote it: {writer}"
            )
        try:
            return cls.of(content)
        except ValueError as error:
            raise CheckpointError(
                f"{path} is no sound checkpoint of iwae: {' '.join(str(error).split())}"
            ) from None

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Checkpoint":
        """Return the checkpoint with this content.

        Raises:
            ValueError: It is none.
        """
        parts = fields_of(cls, content, "checkpoint")
        parts["data"] = TrainedOn(**fields_of(TrainedOn, parts["data"], "data"))
        training = fields_of(TrainingState, parts["training"], "training")
        require(isinstance(training["metrics"], list), "training.metrics is no list")
        return cls(**{**parts, "training": TrainingState(**training)})


def digest_of(parameters: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over names, types, shapes and values of parameters, in hex."""
    digest = hashlib.sha256()
    for name, tensor in sorted(parameters.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
