"""How the images of a data set become the zeros and ones that a model reads."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # `iwae data` and `iwae runs` do without torch
    import torch
    from torch import Tensor

Images = NDArray[np.float32]


@dataclass(frozen=True)
class Binarisation(ABC):
    """What is done with images before a model reads them.

    Attributes:
        name: As in checkpoints and results.
        random: Whether pixels become independent zeros and ones with the grey values as means.
    """

    name: str
    random: ClassVar[bool]

    @abstractmethod
    def draw(self, images: "Tensor", generator: "torch.Generator") -> "Tensor":
        """Return images as a model reads them in training, [B, D].

        Args:
            images: In [0, 1], [B, D].
            generator: On their device; what is drawn from it differs from call to call.
        """

    @abstractmethod
    def draw_rows(self, images: Images, generator: Callable[[int], np.random.Generator]) -> Images:
        """Return images as a model reads them in an evaluation, [B, D].

        Args:
            images: In [0, 1], [B, D].
            generator: Returns the generator of a row, so that images do not share one.
        """

    def if_wanted(self, wanted: bool) -> "Binarisation":
        """Return this where a likelihood wants zeros and ones, else what leaves images alone."""
        return self if wanted else NONE


@dataclass(frozen=True)
class Dynamic(Binarisation):
    """Each pixel is drawn anew at every use, 1 with its grey value as probability."""

    name: str = "dynamic"
    random: ClassVar[bool] = True

    def draw(self, images: "Tensor", generator: "torch.Generator") -> "Tensor":
        """Return zeros and ones."""
        uniform = images.new_empty(images.shape).uniform_(generator=generator)
        return uniform.lt_(images)

    def draw_rows(self, images: Images, generator: Callable[[int], np.random.Generator]) -> Images:
        """Return zeros and ones."""
        uniform = np.empty_like(images)
        for row, out in enumerate(uniform):
            generator(row).random(dtype=np.float32, out=out)
        return (uniform < images).astype(np.float32)


@dataclass(frozen=True)
class Unchanged(Binarisation):
    """Images are read as they are."""

    random: ClassVar[bool] = False

    def draw(self, images: "Tensor", generator: "torch.Generator") -> "Tensor":
        """Return the images."""
        return images

    def draw_rows(self, images: Images, generator: Callable[[int], np.random.Generator]) -> Images:
        """Return the images."""
        return images


DYNAMIC = Dynamic()
# Every pixel is 0 or 1 already
FIXED = Unchanged("fixed")
# A likelihood takes grey or real values
NONE = Unchanged("none")
