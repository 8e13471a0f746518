"""What a likelihood is: a config node that makes the layer p(x | h)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from iwae_cli.models.conditional import ConditionalLayer


@dataclass(frozen=True)
class Likelihood(ABC):
    """The density of the pixels given the latents of the first stochastic layer.

    Log likelihoods are in nats per image, all constants included. Those of different likelihoods
    are of different things, and never compared.

    Attributes:
        name: As on the command line.
        real: Whether pixels may be any real numbers; else they lie in [0, 1].
        binarises: Whether grey values stand for the probability of a 1, and images are drawn.
        binary: Whether images of zeros and ones alone are taken.
    """

    name: str
    real: ClassVar[bool] = False
    binarises: ClassVar[bool] = False
    binary: ClassVar[bool] = True

    @abstractmethod
    def layer(
        self, n_in: int, hidden: Sequence[int], n_out: int, activation: str = "tanh"
    ) -> ConditionalLayer[Any]:
        """Return p(x | h), its parameters not drawn.

        Args:
            n_in: Latents, H.
            hidden: Widths of the layers between, from the latents to the image.
            n_out: Pixels, D.
            activation: Of the hidden layers.
        """
