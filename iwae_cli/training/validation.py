"""The bound on held-out images during training, and whether it falls."""

import logging
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from iwae_cli.core.seeding import derived_seed
from iwae_cli.data.binarisation import Binarisation
from iwae_cli.models.iwae import IWAE
from iwae_cli.objectives.base import Objective
from iwae_cli.runs.metrics import Metrics

log = logging.getLogger("iwae")

BATCH = 100
PATIENCE = 5  # bounds below the best, one after another, that are not chance


@torch.no_grad()
def validation_bound(
    model: IWAE,
    objective: Objective,
    images: Tensor,
    binarisation: Binarisation,
    *,
    k: int,
    seed: int,
) -> float:
    """Return the objective's bound on held-out images, nats per image.

    Binarisation and noise are the same at every call, and no other generator is touched.

    Args:
        model: On the device of `images`.
        objective: The estimator.
        images: In [0, 1], [N, D].
        binarisation: Of the images.
        k: Samples an image.
        seed: Of the run.
    """
    generator = torch.Generator(images.device)
    generator.manual_seed(derived_seed(seed, "validation"))
    total = 0.0
    for grey in torch.split(images, BATCH):
        x = binarisation.draw(grey, generator)
        log_w = model.importance_sample(x, model.draw_noise(k, len(x), generator)).log_w
        total += float(objective.bound(log_w).sum())
    return total / len(images)


def best_before_fall(metrics: Sequence[Metrics]) -> Metrics | None:
    """Return the pass since which the held-out bound has been falling; None if it has not.

    It has where the best of the bounds is followed by at least five, the last of which is below
    the first, while the training bound has risen. All are on the same images with the same noise.
    """
    known = [row for row in metrics if not math.isnan(row.valid_bound)]
    if len(known) <= PATIENCE:
        return None
    best = max(known, key=lambda row: row.valid_bound)
    since = [row for row in known if row.pass_number > best.pass_number]
    if len(since) < PATIENCE or since[-1].train_bound <= best.train_bound:
        return None
    return best if since[-1].valid_bound < since[-PATIENCE].valid_bound else None


class OverfittingWatch:
    """Tells once that the held-out bound falls, when it has for a while.

    Args:
        metrics: Of all passes, the list that training adds to.
    """

    def __init__(self, metrics: Sequence[Metrics]) -> None:
        self.metrics, self.told = metrics, False

    def look(self) -> None:
        """Log a warning the first time that it falls."""
        if self.told or (best := best_before_fall(self.metrics)) is None:
            return
        self.told, last = True, self.metrics[-1]
        log.warning(
            "warning: the held-out bound has been falling since pass %d, from %.2f to %.2f at "
            "pass %d, while that of training rises: the model overfits; fewer passes or more "
            "images would help, as would a smaller model",
            best.pass_number,
            best.valid_bound,
            last.valid_bound,
            last.pass_number,
        )
