"""q(h_1 | x) with two convolutions over a square image."""

import math
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from iwae_cli.models.conditional import ConditionalLayer
from iwae_cli.models.distributions import Gaussian

CHANNELS = 16, 32


class Convolutional(ConditionalLayer[Gaussian]):
    """Two convolutions that halve the image, then a dense layer for mean and log-std.

    Args:
        pixels: Of an image; a square number, with sides that four divides.
        hidden: Widths of dense layers; not used.
        latents: Size of h_1.
        activation: Not used; tanh follows each convolution.

    Raises:
        ValueError: The images are not such squares.
    """

    name: ClassVar[str] = "convolutional"

    def __init__(
        self, pixels: int, hidden: Sequence[int], latents: int, activation: str = "tanh"
    ) -> None:
        super().__init__()
        side = math.isqrt(pixels)
        if side**2 != pixels or side % 4:
            raise ValueError(f"needs square images with sides that 4 divides, got {pixels} pixels")
        few, many = CHANNELS
        self.network = nn.Sequential(
            nn.Unflatten(-1, (1, side, side)),
            nn.Conv2d(1, few, 4, stride=2, padding=1),
            nn.Tanh(),
            nn.Conv2d(few, many, 4, stride=2, padding=1),
            nn.Tanh(),
            nn.Flatten(-3),
            nn.Linear(many * (side // 4) ** 2, 2 * latents),
        )

    def forward(self, inputs: Tensor) -> Gaussian:
        """Return q(h_1 | x) for images [..., pixels]."""
        return Gaussian(*self.network(inputs).chunk(2, dim=-1))
