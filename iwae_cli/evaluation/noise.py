"""The noise of an evaluation: the same for an image in whatever order, batch or chunk."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from iwae_cli.core.seeding import derived_seed
from iwae_cli.data.binarisation import Binarisation

# Samples of an image whose evaluation noise is drawn together, whatever the batch or chunk.
BLOCK = 250
_BINARISATION, _LATENTS, _RESAMPLING, _MIXTURE = 0, 1, 2, 3


def normal_of_bits(bits: Tensor) -> Tensor:
    """Return standard normal float32 numbers, [..., N], from random int32 bits, overwritten.

    The first half of the last axis gives radii and the second angles (Box and Muller 1958); with
    31 bits no number is beyond 6.7.

    Args:
        bits: Uniform over all int32, [..., N] with N even.
    """
    uniform = bits.bitwise_and_(0x7FFFFFFF).to(torch.float32).add_(0.5).mul_(2.0**-31)
    radius, angle = uniform.chunk(2, dim=-1)
    radius = radius.log().mul_(-2).sqrt_()
    angle = angle * (2 * math.pi)
    return torch.cat([angle.cos().mul_(radius), angle.sin_().mul_(radius)], dim=-1)


class EvaluationNoise:
    """Binarisation and noise that depend on (seed, image index, block of samples) alone.

    Counter-based random numbers (Philox; Salmon et al. 2011) make each image's numbers the same
    in whatever order, batch or chunk the images are taken.

    Args:
        seed: Of the evaluation.
        latents: Sizes of the stochastic layers.
        units: For each stochastic layer, the units to keep of its noise; None keeps all. So a
            model without some of its units meets the same noise as the whole model.
    """

    def __init__(
        self, seed: int, latents: Sequence[int], *, units: Sequence[Tensor] | None = None
    ) -> None:
        self.key = derived_seed(seed, "evaluation")
        self.latents, self.units = list(latents), units

    def _philox(self, image: int, purpose: int, block: int) -> np.random.Philox:
        key = np.array([self.key, image], np.uint64)
        return np.random.Philox(counter=np.array([0, 0, purpose, block], np.uint64), key=key)

    def _generator(self, image: int, purpose: int) -> np.random.Generator:
        return np.random.Generator(self._philox(image, purpose, 0))

    def binarise(
        self, images: NDArray[np.float32], first_image: int, binarisation: Binarisation
    ) -> NDArray[np.float32]:
        """Return the images from number `first_image` on as a model reads them, [B, D]."""
        return binarisation.draw_rows(
            images, lambda row: self._generator(first_image + row, _BINARISATION)
        )

    def draw(
        self, first_image: int, images: int, block: int, blocks: int = 1
    ) -> tuple[Tensor, ...]:
        """Return the standard normal noise of consecutive blocks of samples.

        Returns:
            [blocks * BLOCK, images, H] a stochastic layer.
        """
        count = BLOCK * sum(self.latents)
        bits = np.empty((images, blocks, count), np.int32)
        for row, column in np.ndindex(images, blocks):
            philox = self._philox(first_image + row, _LATENTS, block + column)
            bits[row, column] = philox.random_raw(count // 2).view(np.int32)
        noise = normal_of_bits(torch.from_numpy(bits)).view(images, blocks * BLOCK, -1)
        layers = torch.split(noise.transpose(0, 1), self.latents, dim=-1)
        if self.units is None:
            return tuple(layers)
        return tuple(h[..., kept] for h, kept in zip(layers, self.units, strict=True))

    def mixture(
        self, first_image: int, images: int, start: int, count: int, freedom: int
    ) -> tuple[Tensor, Tensor]:
        """Return what a mixture with a Student t needs beside normal noise, [count, images] each.

        Args:
            first_image: Index of the first image in its split.
            images: Their number.
            start: Index of the first sample.
            count: Samples an image.
            freedom: Degrees of freedom of the t.

        Returns:
            Chi-square numbers and uniform ones in [0, 1).
        """
        blocks = range(start // BLOCK, -(-(start + count) // BLOCK))
        found = np.empty((2, len(blocks) * BLOCK, images))
        for row, column in np.ndindex(images, len(blocks)):
            philox = self._philox(first_image + row, _MIXTURE, blocks[column])
            own, part = np.random.Generator(philox), slice(column * BLOCK, (column + 1) * BLOCK)
            found[0, part, row] = own.chisquare(freedom, BLOCK)
            found[1, part, row] = own.random(BLOCK)
        first = start - blocks.start * BLOCK
        chi_square, uniform = torch.from_numpy(found[:, first : first + count].astype(np.float32))
        return chi_square, uniform

    def uniform(self, first_image: int, images: int, count: int) -> NDArray[np.float64]:
        """Return numbers in [0, 1) that decide which samples are kept, [images, count]."""
        rows = range(first_image, first_image + images)
        return np.stack([self._generator(row, _RESAMPLING).random(count) for row in rows])
