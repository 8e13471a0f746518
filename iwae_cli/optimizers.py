"""Optimisers with their schedules of learning rate, passes and k, by name."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import nn

from iwae_cli.adam import FusedAdam, OriginalAdam
from iwae_cli.config import require
from iwae_cli.models.iwae import Reduction


@dataclass(frozen=True)
class Schedule(ABC):
    """How a run is trained: optimiser, minibatches, and what changes from pass to pass.

    Attributes:
        batch_size: Images a step; the last minibatch of a pass may have fewer.
        learning_rate: The largest one.
        beta1: Decay of the first moment.
        beta2: Decay of the second moment.
        eps: Added to the root of the second moment.
        shuffle: Whether each pass takes the images in a new order.
    """

    name: str
    batch_size: int
    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    shuffle: bool = True
    reduction: ClassVar[Reduction] = "mean"
    algorithm: ClassVar[type[torch.optim.Optimizer]] = torch.optim.Adam
    capturable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, f"batch_size must be at least 1, got {self.batch_size}")
        rate = self.learning_rate
        require(0 < rate < math.inf, f"learning_rate must be positive and finite, got {rate}")
        for beta in (self.beta1, self.beta2):
            require(0 <= beta < 1, f"beta1 and beta2 must be in [0, 1), got {beta}")
        require(self.eps > 0, f"eps must be positive, got {self.eps}")

    @property
    @abstractmethod
    def total_passes(self) -> int:
        """Passes over the training images in all."""

    @abstractmethod
    def learning_rate_at(self, position: float) -> float:
        """Return the learning rate after `position` passes, a fraction included."""

    def k_at(self, pass_index: int, k: int) -> int:
        """Return the number of samples in one pass, counted from 0, of a run that ends at `k`."""
        return k

    def build(
        self, parameters: Iterable[nn.Parameter], device: torch.device
    ) -> torch.optim.Optimizer:
        """Return the optimiser of `parameters`; the learning rate is set before each step.

        On a GPU it can be recorded in a CUDA graph, and has its learning rate in a tensor.
        """
        betas = self.beta1, self.beta2
        if device.type == "cpu":
            return FusedAdam(parameters, betas=betas, eps=self.eps)
        recorded = device.type == "cuda" and self.capturable
        return torch.optim.Adam(
            parameters,
            lr=torch.tensor(0.0, device=device) if recorded else 0.0,
            betas=betas,
            eps=self.eps,
            fused=True,
            capturable=recorded,
        )


@dataclass(frozen=True)
class Paper(Schedule):
    """Stage i = 0, 1, ... makes 3^i passes at learning rate lr * 10^(-i/7), with Adam.

    Burda et al. 2015, arXiv 1509.00519, section 5. The authors' eps of 1e-4 belongs to the
    gradient summed over 20 images; on the mean it is 5e-6.
    """

    name: str = "paper"
    batch_size: int = 20
    stages: int = 8
    learning_rate: float = 1e-3
    eps: float = 5e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.stages <= 12, f"stages must be in 1..12, got {self.stages}")

    @property
    def total_passes(self) -> int:
        """(3^stages - 1) / 2; 3,280 with eight stages."""
        return int((3**self.stages - 1) // 2)

    def stage_at(self, position: float) -> int:
        """Return the stage that contains pass number `position`, counted from 0."""
        stage = 0
        while position >= (3 ** (stage + 1) - 1) // 2 and stage < self.stages - 1:
            stage += 1
        return stage

    def learning_rate_at(self, position: float) -> float:
        """Return lr * 10^(-i/7) in stage i."""
        return self.learning_rate * 10 ** (-self.stage_at(position) / 7)


@dataclass(frozen=True)
class OriginalCode(Paper):
    """The stages of the paper with the optimiser of the authors' published code.

    The learning rate of stage i is lr * round(10^(1 - i/7), 1) / 10, and the loss is summed over
    the minibatch; see `OriginalAdam`.
    """

    name: str = "original_code"
    beta1: float = 0.99
    eps: float = 1e-4
    reduction: ClassVar[Reduction] = "sum"
    algorithm: ClassVar[type[torch.optim.Optimizer]] = OriginalAdam
    capturable: ClassVar[bool] = False  # its step number is the host's

    def learning_rate_at(self, position: float) -> float:
        """Return lr * round(10^(1 - i/7), 1) / 10 in stage i."""
        return self.learning_rate * round(10 ** (1 - self.stage_at(position) / 7), 1) / 10

    def build(
        self, parameters: Iterable[nn.Parameter], device: torch.device
    ) -> torch.optim.Optimizer:
        """Return the authors' variant of Adam."""
        return OriginalAdam(parameters, betas=(self.beta1, self.beta2), eps=self.eps)


@dataclass(frozen=True)
class Fast(Schedule):
    """Adam with a learning rate that falls to zero along a cosine, while k grows.

    Training is cut into equal parts: each entry of `k_growth` below the run's k names the k of
    one part, and the last part uses the run's k itself.
    """

    name: str = "fast"
    batch_size: int = 100
    passes: int = 120
    learning_rate: float = 3e-3
    k_growth: list[int] = field(default_factory=lambda: [5, 10])

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.passes >= 1, f"passes must be at least 1, got {self.passes}")
        rising = all(a < b for a, b in zip([0, *self.k_growth], self.k_growth, strict=False))
        require(rising, f"k_growth must rise from at least 1, got {self.k_growth}")

    @property
    def total_passes(self) -> int:
        """The option `passes`."""
        return self.passes

    def learning_rate_at(self, position: float) -> float:
        """Return lr * (1 + cos(pi * position / passes)) / 2."""
        return self.learning_rate * (1 + math.cos(math.pi * position / self.passes)) / 2

    def k_at(self, pass_index: int, k: int) -> int:
        """Return the k of the part of training that holds this pass."""
        parts = [smaller for smaller in self.k_growth if smaller < k] + [k]
        return parts[pass_index * len(parts) // self.passes]


@dataclass(frozen=True)
class Constant(Schedule):
    """Adam at one learning rate; by default the second stage of the paper's Table 2.

    3^7 passes at 1e-4: Burda et al. 2015, arXiv 1509.00519, section 5.3.
    """

    name: str = "constant"
    batch_size: int = 20
    passes: int = 3**7
    learning_rate: float = 1e-4
    eps: float = 5e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.passes >= 1, f"passes must be at least 1, got {self.passes}")

    @property
    def total_passes(self) -> int:
        """The option `passes`."""
        return self.passes

    def learning_rate_at(self, position: float) -> float:
        """Return the learning rate, the same at every position."""
        return self.learning_rate


SCHEDULES: dict[str, type[Schedule]] = {
    "paper": Paper,
    "original_code": OriginalCode,
    "fast": Fast,
    "constant": Constant,
}
