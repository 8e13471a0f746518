"""What all recipes with Adam share."""

from dataclasses import dataclass

import torch
from torch import Tensor

from iwae_cli.core.config import require
from iwae_cli.data.binarisation import Binarisation
from iwae_cli.models.iwae import IWAE
from iwae_cli.training.optimizers.adam import FusedAdam
from iwae_cli.training.recipes.base import Recipe, check_batch_size


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
