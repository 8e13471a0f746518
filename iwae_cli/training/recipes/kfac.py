"""K-FAC with its schedules."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from iwae_cli.core.config import require
from iwae_cli.data.binarisation import Binarisation
from iwae_cli.models.iwae import IWAE
from iwae_cli.training.optimizers.kfac import KFAC
from iwae_cli.training.recipes.base import Recipe, check_batch_size, check_growth, check_passes
from iwae_cli.training.schedules import KGrowth, LearningRate, Linear

# Images a step of K-FAC, and what there should be of them and of steps where images are few
MANY, FEW, STEPS = 400, 20, 25


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
        damping: Added to the factors, see `training.optimizers.kfac`.
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

    def build(
        self, model: IWAE, images: Tensor, *, binarisation: Binarisation
    ) -> torch.optim.Optimizer:
        """Return K-FAC."""
        taken = min(self.images_per_step(len(images)), len(images))
        scale = math.sqrt(taken / MANY)
        return KFAC(
            model,
            images=images,
            binarisation=binarisation,
            rates=(scale * self.encoder_rate, scale),
            adam_rate=self.adam_rate / self.learning_rate,
            momentum=self.momentum,
            damping=self.damping,
            decay=self.decay,
        )
