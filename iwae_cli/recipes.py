"""How a run is trained: what the config node `optimizer` names, an optimiser with its schedules."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from iwae_cli.config import require
from iwae_cli.models.iwae import IWAE, Reduction
from iwae_cli.optimizers.adam import FusedAdam, OriginalAdam
from iwae_cli.optimizers.kfac import KFAC
from iwae_cli.schedules import Cosine, KGrowth, LearningRate, Linear, Stages

# Images a step of K-FAC, and what there should be of them and of steps where images are few
MANY, FEW, STEPS = 400, 20, 25


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

    @abstractmethod
    def build(self, model: IWAE, images: Tensor, *, dynamic: bool) -> torch.optim.Optimizer:
        """Return the optimiser of a model; the learning rate is set before each step.

        Args:
            model: On the device it will be trained on.
            images: Training images in [0, 1], [N, D].
            dynamic: Whether they are binarised anew at every use.
        """


@dataclass(frozen=True)
class Adam(Recipe):
    """Adam with any schedule.

    Attributes:
        batch_size: Images a step.
        beta1: Decay of the first moment.
        beta2: Decay of the second moment.
        eps: Added to the root of the second moment.
    """

    batch_size: int = 20
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_batch_size(self.batch_size)
        for beta in (self.beta1, self.beta2):
            require(0 <= beta < 1, f"beta1 and beta2 must be in [0, 1), got {beta}")
        require(self.eps > 0, f"eps must be positive, got {self.eps}")

    def images_per_step(self, images: int) -> int:
        """Return the option `batch_size`."""
        return self.batch_size

    def build(self, model: IWAE, images: Tensor, *, dynamic: bool) -> torch.optim.Optimizer:
        """Return Adam; on a GPU it can be recorded, with its learning rate in a tensor."""
        betas, device = (self.beta1, self.beta2), images.device
        if device.type == "cpu":
            return FusedAdam(model.parameters(), betas=betas, eps=self.eps)
        recorded = device.type == "cuda" and self.capturable
        return torch.optim.Adam(
            model.parameters(),
            lr=torch.tensor(0.0, device=device) if recorded else 0.0,
            betas=betas,
            eps=self.eps,
            fused=True,
            capturable=recorded,
        )


@dataclass(frozen=True)
class Paper(Adam):
    """Stage i = 0, 1, ... makes 3^i passes at learning rate lr * 10^(-i/7), with Adam.

    Burda et al. 2015, arXiv 1509.00519, section 5. The authors' eps of 1e-4 belongs to the
    gradient summed over 20 images; on the mean it is 5e-6.
    """

    name: str = "paper"
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

    @property
    def rates(self) -> LearningRate:
        """Lr * 10^(-i/7) in stage i."""
        return Stages([self.learning_rate * 10 ** (-i / 7) for i in range(self.stages)])


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

    @property
    def rates(self) -> LearningRate:
        """Lr * round(10^(1 - i/7), 1) / 10 in stage i."""
        rounded = [round(10 ** (1 - i / 7), 1) for i in range(self.stages)]
        return Stages([self.learning_rate * one / 10 for one in rounded])

    def build(self, model: IWAE, images: Tensor, *, dynamic: bool) -> torch.optim.Optimizer:
        """Return the authors' variant of Adam."""
        return OriginalAdam(model.parameters(), betas=(self.beta1, self.beta2), eps=self.eps)


@dataclass(frozen=True)
class Fast(Adam):
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
        check_passes(self.passes)
        check_growth(self.k_growth)

    @property
    def total_passes(self) -> int:
        """The option `passes`."""
        return self.passes

    @property
    def rates(self) -> LearningRate:
        """Half a cosine."""
        return Cosine(self.learning_rate, self.passes)

    @property
    def growth(self) -> KGrowth:
        """Equal parts."""
        return KGrowth(self.k_growth)


@dataclass(frozen=True)
class Constant(Adam):
    """Adam at one learning rate; by default the second stage of the paper's Table 2.

    3^7 passes at 1e-4: Burda et al. 2015, arXiv 1509.00519, section 5.3.
    """

    name: str = "constant"
    passes: int = 3**7
    learning_rate: float = 1e-4
    eps: float = 5e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        check_passes(self.passes)

    @property
    def total_passes(self) -> int:
        """The option `passes`."""
        return self.passes

    @property
    def rates(self) -> LearningRate:
        """The learning rate, the same at every position."""
        return Linear(self.learning_rate, self.passes, end=1.0)


@dataclass(frozen=True)
class Kfac(Recipe):
    """Natural gradient with Kronecker factors, a rate that falls in a straight line, k that grows.

    Attributes:
        batch_size: Images a step; None for 400, or fewer where a pass would have less than
            `STEPS` steps.
        learning_rate: Length of a step of one network in the Fisher metric, with 400 images; it is
            scaled by the root of the batch size.
        end_rate: What share of the rate is left at the end; 1 keeps it constant.
        encoder_rate: What the rate of the recognition network is multiplied by.
        adam_rate: Largest learning rate of parameters outside linear layers, which follow Adam.
        momentum: Decay of the sum of gradients.
        damping: Added to the factors, see `optimizers.kfac`.
        decay: Decay of the running averages of the factors.
        k_growth: k of the first parts of training; the last part uses the run's k itself.
        k_shares: How much of training each of these parts takes.
    """

    name: str = "kfac"
    batch_size: int | None = None
    passes: int = 120
    learning_rate: float = 0.2
    end_rate: float = 0.0
    encoder_rate: float = 0.6
    adam_rate: float = 1e-3
    momentum: float = 0.9
    damping: float = 1e-3
    decay: float = 0.95
    k_growth: list[int] = field(default_factory=lambda: [5, 10])
    k_shares: list[float] = field(default_factory=lambda: [0.6, 0.2])
    all_rows: bool = False
    algorithm: ClassVar[type[torch.optim.Optimizer]] = KFAC
    capturable: ClassVar[bool] = False  # its steps differ from one another

    def __post_init__(self) -> None:
        super().__post_init__()
        check_passes(self.passes)
        check_growth(self.k_growth)
        if self.batch_size is not None:
            check_batch_size(self.batch_size)
        for key in ("learning_rate", "encoder_rate", "adam_rate"):
            value = getattr(self, key)
            require(0 < value <= 10, f"{key} must be above 0 and at most 10, got {value}")
        require(0 <= self.end_rate <= 1, f"end_rate must be in [0, 1], got {self.end_rate}")
        for key in ("momentum", "decay"):
            value = getattr(self, key)
            require(0 <= value < 1, f"{key} must be in [0, 1), got {value}")
        damping = self.damping
        require(1e-8 <= damping <= 1e4, f"damping must be in 1e-8..1e4, got {damping}")
        shares = self.k_shares
        require(
            len(shares) == len(self.k_growth)
            and all(share > 0 for share in shares)
            and sum(shares) < 1,
            f"k_shares must be a positive share for each entry of k_growth, with less than 1 in "
            f"all, got {shares} for {self.k_growth}",
        )

    @property
    def total_passes(self) -> int:
        """The option `passes`."""
        return self.passes

    def images_per_step(self, images: int) -> int:
        """Return the option `batch_size`, or what suits the number of images."""
        return self.batch_size or min(MANY, max(FEW, images // STEPS))

    @property
    def rates(self) -> LearningRate:
        """A straight line."""
        return Linear(self.learning_rate, self.passes, self.end_rate)

    @property
    def growth(self) -> KGrowth:
        """Parts of the given shares."""
        return KGrowth(self.k_growth, self.k_shares)

    def build(self, model: IWAE, images: Tensor, *, dynamic: bool) -> torch.optim.Optimizer:
        """Return K-FAC."""
        scale = math.sqrt(self.images_per_step(len(images)) / MANY)
        return KFAC(
            model,
            images=images,
            dynamic=dynamic,
            rates=(scale * self.encoder_rate, scale),
            adam_rate=self.adam_rate / self.learning_rate,
            momentum=self.momentum,
            damping=self.damping,
            decay=self.decay,
        )


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


RECIPES: dict[str, type[Recipe]] = {
    "paper": Paper,
    "original_code": OriginalCode,
    "fast": Fast,
    "constant": Constant,
    "kfac": Kfac,
}
