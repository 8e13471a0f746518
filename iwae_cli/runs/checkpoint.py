"""Checkpoints: all that a run is, in one file of plain types."""

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from iwae_cli.core import config as configs
from iwae_cli.core.config import FORMAT_VERSION, Config, require
from iwae_cli.core.errors import CheckpointError, ConfigError
from iwae_cli.models.iwae import IWAE
from iwae_cli.models.loading import check_parameters, network_of
from iwae_cli.runs.checkpoint_file import read_content, write_content
from iwae_cli.runs.metrics import Metrics

LARGEST = 2**53
LEAST_METRICS = 7  # columns of metrics.csv in the first version


@dataclass(frozen=True, kw_only=True)
class TrainedOn:
    """The data that a model was trained on.

    Attributes:
        hash: SHA-256 of its content, in hex.
        label: As results name it.
        binarization: Of its images.
        pixels: Of an image.
        image_shape: (height, width) of an image, or None.
    """

    hash: str
    label: str
    binarization: str
    pixels: int
    image_shape: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name in ("hash", "label", "binarization"):
            require(isinstance(getattr(self, name), str), f"data.{name} is no text")
        require(is_hash(self.hash), "data.hash is no SHA-256")
        require(is_count(self.pixels) and self.pixels >= 1, "data.pixels is no number of pixels")
        shape = self.image_shape
        if shape is not None:
            sizes = isinstance(shape, Sequence) and len(shape) == 2 and all(map(is_count, shape))
            require(
                sizes and math.prod(shape) == self.pixels,
                "data.image_shape is not that of an image",
            )
            object.__setattr__(self, "image_shape", (shape[0], shape[1]))


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """How far training is, and what it goes on with beside parameters and optimiser.

    Attributes:
        pass_index: Passes done.
        step_in_pass: Steps done of the next one.
        steps: Steps done in all.
        metrics: Of each pass done.
        order: Of the images in this pass, [N]; None in an exported model.
        bound_sum: Of the images of this pass so far, nats.
        seconds: Spent on this pass.
        generator: State of the generator of order, binarisation and noise; None in an exported
            model.
    """

    pass_index: int
    step_in_pass: int
    steps: int
    metrics: list[Metrics]
    order: Tensor | None = None
    bound_sum: float = 0.0
    seconds: float = 0.0
    generator: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("pass_index", "step_in_pass", "steps"):
            require(is_count(getattr(self, name)), f"training.{name} is no number of steps")
        rows = [metrics_row(row, number) for number, row in enumerate(self.metrics, start=1)]
        object.__setattr__(self, "metrics", rows)
        require(
            len(rows) == self.pass_index,
            f"training.pass_index is {self.pass_index}, but {len(rows)} passes have metrics",
        )
        whole = self.steps - self.step_in_pass
        agree = whole % self.pass_index == 0 and whole > 0 if self.pass_index else whole == 0
        require(agree, "training.steps does not agree with its passes")
        for name in ("bound_sum", "seconds"):
            value = getattr(self, name)
            require(is_number(value) and math.isfinite(value), f"training.{name} is no number")
        self._check_tensors()

    def _check_tensors(self) -> None:
        if self.order is not None:
            whole = isinstance(self.order, Tensor) and self.order.dtype in (
                torch.int32,
                torch.int64,
            )
            require(whole and self.order.dim() == 1, "training.order is no list of images")
            numbers = torch.arange(len(self.order), dtype=self.order.dtype)
            require(
                torch.equal(self.order.sort().values, numbers),
                "training.order has not every image once",
            )
        if self.generator is not None:
            state = self.generator
            bytes_alone = (
                isinstance(state, Tensor) and state.dtype == torch.uint8 and state.dim() == 1
            )
            require(bytes_alone, "training.generator is no state of a generator")


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
        require(all(isinstance(key, str) for key in values), "config has a key that is no text")
        require(isinstance(values.get("then", {}), dict), "config.then is no mapping")
        try:
            return configs.parse(values)
        except ConfigError as error:
            raise ValueError(f"config: {error}") from None

    @cached_property
    def parameters_digest(self) -> str:
        """SHA-256 over names, types, shapes and values of the parameters, in hex."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.items()):
            digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

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
        version, written_by = content.get("format"), content.get("versions")
        if "format" in content and version != FORMAT_VERSION:
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


def fields_of(cls: type, content: object, where: str) -> dict[str, Any]:
    """Return those values of a mapping that a dataclass has fields for.

    Raises:
        ValueError: It is no mapping, or a field without a default is missing.
    """
    require(isinstance(content, Mapping), f"{where} is no mapping")
    assert isinstance(content, Mapping)
    for one in dataclasses.fields(cls):
        missing = one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
        if missing and one.name not in content:
            raise ValueError(f"{where} has no key '{one.name}'")
    return {one.name: content[one.name] for one in dataclasses.fields(cls) if one.name in content}


def metrics_row(row: object, number: int) -> Metrics:
    """Return the metrics of pass `number`; columns that were added later have their defaults.

    Raises:
        ValueError: They are not that.
    """
    fault = f"training.metrics of pass {number} are damaged"
    require(isinstance(row, list | tuple), fault)
    assert isinstance(row, list | tuple)
    require(LEAST_METRICS <= len(row) <= len(Metrics._fields) and all(map(is_number, row)), fault)
    metrics = Metrics(*row)
    require(metrics.pass_number == number and is_count(metrics.k) and metrics.k >= 1, fault)
    return metrics


def is_number(value: object) -> bool:
    """Whether a value is a number, NaN included, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_count(value: object) -> bool:
    """Whether a value is a whole number that is not negative nor beyond any use."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST


def is_hash(text: str) -> bool:
    """Whether a text is a SHA-256 in hex."""
    return len(text) == 64 and set(text) <= set("0123456789abcdef")
