"""What every data source gives: three splits of images in [0, 1], and where they come from."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from iwae_cli.data.binarisation import Binarisation

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")


@dataclass(frozen=True)
class Dataset:
    """Three splits of images.

    Attributes:
        name: The source, such as `mnist`; part of a run's folder name.
        label: What results call it, such as `MNIST` or `rebuilt OMNIGLOT`.
        binarisation: `DYNAMIC` where pixels are grey values, `FIXED` where every pixel is already
            0 or 1.
        train: Training images, float32 in [0, 1], [N, D].
        valid: Held-out images, [N', D]; may have no rows.
        test: Test images, [N'', D].
        image_shape: (height, width) of an image, where there is one.
    """

    name: str
    label: str
    binarisation: Binarisation
    train: NDArray[np.float32]
    valid: NDArray[np.float32]
    test: NDArray[np.float32]
    image_shape: tuple[int, int] | None

    def split(self, name: Split) -> NDArray[np.float32]:
        """Return the images of one split, [N, D]."""
        images: NDArray[np.float32] = getattr(self, name)
        return images

    @cached_property
    def content_hash(self) -> str:
        """SHA-256, in hex, of the pixels and shapes of all three splits, and of nothing else."""
        digest = hashlib.sha256()
        for name in SPLITS:
            images = np.ascontiguousarray(self.split(name), dtype=np.float32)
            digest.update(f"{name} {images.shape};".encode())
            digest.update(images.data)
        return digest.hexdigest()


class Source(Protocol):
    """A frozen dataclass of a data set's options that can load it."""

    def __hash__(self) -> int: ...

    def load(self) -> Dataset:
        """Return the data set, from files if they are there, else downloaded and verified."""
        ...
