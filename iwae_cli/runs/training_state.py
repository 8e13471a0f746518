"""The parts of a checkpoint: what a model was trained on, and how far its training is."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from iwae_cli.core.config import require
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
