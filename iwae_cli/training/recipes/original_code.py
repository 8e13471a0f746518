"""The schedule and the optimiser of the authors' code."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from iwae_cli.data.binarisation import Binarisation
from iwae_cli.models.iwae import IWAE, Reduction
from iwae_cli.training.optimizers.adam import OriginalAdam
from iwae_cli.training.recipes.paper import Paper
from iwae_cli.training.schedules import LearningRate, Stages


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
