"""Importance samples of an evaluation, in chunks that fit into memory."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from iwae_cli.evaluation.noise import BLOCK, EvaluationNoise
from iwae_cli.models.hierarchical import ImportanceSample
from iwae_cli.models.iwae import IWAE

MEMORY_BYTES = 128 * 2**20
# Copies of the widest activation that a forward pass holds at once.
COPIES = 3

Images = NDArray[np.float32]


def log_weights(
    model: IWAE, x: Images, noise: EvaluationNoise, *, first_image: int, k: int, rows: int
) -> torch.Tensor:
    """Return log w of the first k samples of each image, float64, on the CPU, [k, B].

    The arguments are those of `importance_samples`.
    """
    samples = importance_samples(model, x, noise, first_image=first_image, k=k, rows=rows)
    return torch.cat([sample.log_w.cpu().double() for sample in samples])


@torch.inference_mode()
def importance_samples(
    model: IWAE, x: Images, noise: EvaluationNoise, *, first_image: int, k: int, rows: int
) -> Iterator[ImportanceSample]:
    """Yield the first k samples of each image in chunks of at most k, on the model's device.

    Args:
        model: On any device.
        x: Binary images, [B, D].
        noise: Of the evaluation.
        first_image: Index of `x[0]` in its split.
        k: Samples an image.
        rows: Samples to decode at once, over all images of the batch.
    """
    parameter = next(model.parameters())
    inputs = torch.from_numpy(x).to(parameter)
    chunk = max(1, rows // len(x))
    if chunk > BLOCK:
        chunk -= chunk % BLOCK
    total, at_once = math.ceil(k / BLOCK), math.ceil(chunk / BLOCK)
    for block in range(0, total, at_once):
        blocks = min(at_once, total - block)
        layers = noise.draw(first_image, len(x), block, blocks)
        needed = min(blocks * BLOCK, k - block * BLOCK)
        for begin in range(0, needed, chunk):
            part = [h[begin : min(begin + chunk, needed)].to(parameter) for h in layers]
            yield model.importance_sample(inputs, part)
