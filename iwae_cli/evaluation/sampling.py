"""Importance samples of an evaluation, in chunks that fit into memory."""

import math
from collections.abc import Iterator
from typing import NamedTuple, Protocol

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


class LogWeights(Protocol):
    """Returns log weights of the first k samples of each image, of some proposal."""

    def __call__(
        self,
        model: IWAE,
        x: Images,
        noise: EvaluationNoise,
        *,
        first_image: int,
        k: int,
        rows: int,
    ) -> torch.Tensor:
        """Return them, float64, on the CPU, [k, B]; the arguments are those of `log_weights`."""


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
    for chunk in noise_chunks(noise, len(x), first_image=first_image, k=k, rows=rows):
        yield model.importance_sample(inputs, [h.to(parameter) for h in chunk.layers])


class NoiseChunk(NamedTuple):
    """Noise of consecutive samples.

    Attributes:
        start: Index of the first sample.
        layers: [c, B, H] a stochastic layer.
    """

    start: int
    layers: list[torch.Tensor]


def noise_chunks(
    noise: EvaluationNoise, images: int, *, first_image: int, k: int, rows: int
) -> Iterator[NoiseChunk]:
    """Yield the noise of the first k samples of each image in chunks of `rows` over all images."""
    chunk = max(1, rows // images)
    if chunk > BLOCK:
        chunk -= chunk % BLOCK
    total, at_once = math.ceil(k / BLOCK), math.ceil(chunk / BLOCK)
    for block in range(0, total, at_once):
        blocks = min(at_once, total - block)
        layers = noise.draw(first_image, images, block, blocks)
        needed = min(blocks * BLOCK, k - block * BLOCK)
        for begin in range(0, needed, chunk):
            part = [h[begin : min(begin + chunk, needed)] for h in layers]
            yield NoiseChunk(block * BLOCK + begin, part)
