"""Adam with its schedules: the paper's, the authors' code's, a fast and a constant one."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from iwae_cli.core.config import require
from iwae_cli.data.binarisation import Binarisation
from iwae_cli.models.iwae import IWAE, Reduction
from iwae_cli.training.optimizers.adam import FusedAdam, OriginalAdam
from iwae_cli.training.recipes.base import Recipe, check_batch_size, check_growth, check_passes
from iwae_cli.training.schedules import Cosine, KGrowth, LearningRate, Linear, Stages


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

    def build(
        self, model: IWAE, images: Tensor, *, binarisation: Binarisation
    ) -> torch.optim.Optimizer:
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

    def build(
        self, model: IWAE, images: Tensor, *, binarisation: Binarisation
    ) -> torch.optim.Optimizer:
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
