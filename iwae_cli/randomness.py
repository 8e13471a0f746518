"""Where random numbers come from: independent seeds, binarisation, noise of an evaluation."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Samples of an image whose evaluation noise is drawn together, whatever the batch or chunk.
BLOCK = 250
_BINARISATION, _LATENTS, _RESAMPLING = 0, 1, 2


def derived_seed(seed: int, purpose: str) -> int:
    """Return a seed in [0, 2^63) for one purpose, independent of those for other purposes."""
    words = [seed, *purpose.encode()]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1)


def binarise(grey: Tensor, generator: torch.Generator) -> Tensor:
    """Return images of zeros and ones, each pixel 1 with its grey value as probability."""
    uniform = torch.rand(grey.shape, generator=generator, device=grey.device, dtype=grey.dtype)
    return (uniform < grey).to(grey.dtype)


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

    def _generator(self, image: int, purpose: int, block: int) -> np.random.Generator:
        key = np.array([self.key, image], np.uint64)
        counter = np.array([0, 0, purpose, block], np.uint64)
        return np.random.Generator(np.random.Philox(counter=counter, key=key))

    def binarise(self, grey: NDArray[np.float32], first_image: int) -> NDArray[np.float32]:
        """Return zeros and ones for the images from number `first_image` on, [B, D]."""
        uniform = np.empty_like(grey)
        for row, out in enumerate(uniform):
            self._generator(first_image + row, _BINARISATION, 0).random(dtype=np.float32, out=out)
        return (uniform < grey).astype(np.float32)

    def draw(self, first_image: int, images: int, block: int) -> tuple[Tensor, ...]:
        """Return the standard normal noise of one block, [BLOCK, images, H] a stochastic layer."""
        noise = np.empty((images, BLOCK, sum(self.latents)), np.float32)
        for row in range(images):
            generator = self._generator(first_image + row, _LATENTS, block)
            generator.standard_normal(dtype=np.float32, out=noise[row])
        layers = torch.split(torch.from_numpy(noise).transpose(0, 1), self.latents, dim=-1)
        if self.units is None:
            return tuple(layers)
        return tuple(h[..., kept] for h, kept in zip(layers, self.units, strict=True))

    def uniform(self, first_image: int, images: int, count: int) -> NDArray[np.float64]:
        """Return numbers in [0, 1) that decide which samples are kept, [images, count]."""
        rows = range(first_image, first_image + images)
        return np.stack([self._generator(row, _RESAMPLING, 0).random(count) for row in rows])
