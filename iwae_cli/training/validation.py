"""The bound on held-out images during training."""

import torch
from torch import Tensor

from iwae_cli.core.seeding import derived_seed
from iwae_cli.data.binarisation import binarise
from iwae_cli.models.iwae import IWAE
from iwae_cli.objectives.base import Objective

BATCH = 100


@torch.no_grad()
def validation_bound(
    model: IWAE, objective: Objective, images: Tensor, *, k: int, seed: int, dynamic: bool
) -> float:
    """Return the objective's bound on held-out images, nats per image.

    Binarisation and noise are the same at every call, and no other generator is touched.

    Args:
        model: On the device of `images`.
        objective: The estimator.
        images: In [0, 1], [N, D].
        k: Samples an image.
        seed: Of the run.
        dynamic: Whether images are binarised.
    """
    generator = torch.Generator(images.device)
    generator.manual_seed(derived_seed(seed, "validation"))
    total = 0.0
    for grey in torch.split(images, BATCH):
        x = binarise(grey, generator) if dynamic else grey
        log_w = model.importance_sample(x, model.draw_noise(k, len(x), generator)).log_w
        total += float(objective.bound(log_w).sum())
    return total / len(images)
