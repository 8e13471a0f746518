"""One update of the parameters on the device: grey images in, their bound out."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from iwae_cli.data.binarisation import Binarisation
from iwae_cli.models.iwae import IWAE, Reduction, uniform_shape
from iwae_cli.models.row_lottery import ample_capacity
from iwae_cli.objectives.base import Objective
from iwae_cli.training.optimizers.kfac import KFAC


@dataclass(frozen=True)
class Update:
    """An update of a model's parameters as plain code.

    Attributes:
        model: On the device of the images.
        optimizer: Of its parameters.
        generator: Of binarisation and noise; on the same device.
        reduction: Of the losses of a minibatch.
        binarisation: Of the images.
        all_rows: Whether every sample takes part in the backward pass; else those that the
            lottery of `models.row_lottery` keeps.
        images: Of a whole minibatch; a smaller one, the last of a pass, counts for less in a mean,
            so that every image counts the same. None: every minibatch is whole.
    """

    model: IWAE
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    reduction: Reduction
    binarisation: Binarisation
    all_rows: bool = True
    images: int | None = None

    @cached_property
    def parameters(self) -> list[nn.Parameter]:
        """The model's, looked for once: at every step that would take as long as a layer."""
        return list(self.model.parameters())

    def __call__(self, grey: Tensor, k: int, objective: Objective) -> Tensor:
        """Update the parameters and return the sum of the images' bounds, a scalar tensor.

        Args:
            grey: Images in [0, 1], [B, D].
            k: Samples an image.
            objective: The estimator.
        """
        x = self.binarisation.draw(grey, self.generator)
        noise = self.model.draw_noise(k, len(x), self.generator)
        # a recorded update needs shapes that do not depend on the data
        capacity = None if x.device.type == "cpu" else ample_capacity(k, len(x))
        uniform = None
        if shape := uniform_shape(objective, k=k, images=len(x), all_rows=self.all_rows):
            uniform = torch.rand(shape, generator=self.generator, device=x.device)
        with torch.inference_mode():  # spares small networks a twentieth of their time
            found = self.model.gradients(
                x,
                noise,
                objective,
                all_rows=self.all_rows,
                uniform=uniform,
                capacity=capacity,
                reduction=self.reduction,
            )
            whole = self.images or len(x)
            if self.reduction == "mean" and len(x) != whole:
                for gradient in found.parameters:
                    gradient.mul_(len(x) / whole)
        for parameter, gradient in zip(self.parameters, found.parameters, strict=True):
            parameter.grad = gradient
        if isinstance(self.optimizer, KFAC) and self.optimizer.wants_factors():
            with torch.inference_mode():
                samples = self.model.fisher_samples(x, self.generator)
            self.optimizer.observe(samples)
        self.optimizer.step()
        return found.bound.sum()


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameters."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):  # a recorded update reads it from there
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
