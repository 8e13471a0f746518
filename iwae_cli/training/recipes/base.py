"""How a run is trained: an optimiser with its schedules."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from iwae_cli.core.config import require
from iwae_cli.data.binarisation import Binarisation
from iwae_cli.models.iwae import IWAE, Reduction
from iwae_cli.training.schedules import KGrowth, LearningRate

# An image costs about as much as this many of its samples (batch, binarisation, first layer), or as
# this many where the lottery makes samples cheap.
IMAGE_COST, LOTTERY_IMAGE_COST = 4, 14


@dataclass(frozen=True)
class Recipe(ABC):
    """Minibatches, learning rate, growth of k, and the optimiser that they belong to.

    Attributes:
        learning_rate: The largest one.
        shuffle: Whether each pass takes the images in a new order.
        all_rows: Whether every sample goes through the backward pass; else one of small weight
            is dropped at random and the others make up for it, see `models.row_lottery`.
    """

    name: str
    learning_rate: float
    shuffle: bool = True
    all_rows: bool = field(default=True, metadata={"identity": "if set"})
    reduction: ClassVar[Reduction] = "mean"
    algorithm: ClassVar[type[torch.optim.Optimizer]] = torch.optim.Adam
    capturable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        rate = self.learning_rate
        require(0 < rate < math.inf, f"learning_rate must be positive and finite, got {rate}")

    @property
    @abstractmethod
    def total_passes(self) -> int:
        """Passes over the training images in all."""

    @abstractmethod
    def images_per_step(self, images: int) -> int:
        """Return the size of a minibatch of `images`; the last one of a pass may have fewer."""

    @property
    @abstractmethod
    def rates(self) -> LearningRate:
        """The learning rate from pass to pass."""

    @property
    def growth(self) -> KGrowth:
        """The number of samples from pass to pass."""
        return KGrowth()

    def k_at(self, pass_index: int, k: int) -> int:
        """Return the number of samples in one pass, counted from 0, of a run that ends at `k`."""
        return self.growth.k_at(pass_index, self.total_passes, k)

    def work(self, k: int, passes: int) -> float:
        """Return the work of the first passes of a run that ends at `k`, in samples an image."""
        image = IMAGE_COST if self.all_rows else LOTTERY_IMAGE_COST
        return float(sum(self.k_at(index, k) + image for index in range(passes)))

    @abstractmethod
    def build(
        self, model: IWAE, images: Tensor, *, binarisation: Binarisation
    ) -> torch.optim.Optimizer:
        """Return the optimiser of a model; the learning rate is set before each step.

        Args:
            model: On the device it will be trained on.
            images: Training images in [0, 1], [N, D].
            binarisation: What is done with them before the model reads them.
        """


def check_batch_size(images: int) -> None:
    """Raise ValueError unless a minibatch has an image."""
    require(images >= 1, f"batch_size must be at least 1, got {images}")


def check_passes(passes: int) -> None:
    """Raise ValueError unless there is a pass."""
    require(passes >= 1, f"passes must be at least 1, got {passes}")


def check_growth(ks: list[int]) -> None:
    """Raise ValueError unless `ks` rise."""
    rising = all(a < b for a, b in zip([0, *ks], ks, strict=False))
    require(rising, f"k_growth must rise from at least 1, got {ks}")
