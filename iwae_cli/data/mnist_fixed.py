"""MNIST binarised once: Larochelle and Murray's (2011) text files of zeros and ones."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from iwae_cli.core.config import require
from iwae_cli.core.errors import DataError
from iwae_cli.data import download
from iwae_cli.data.binarisation import FIXED
from iwae_cli.data.dataset import Dataset

MIRROR = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/"
PIXELS = 28 * 28


def _file(split: str, sha256: str, megabytes: float) -> download.File:
    name = f"binarized_mnist_{split}.amat"
    digests = (f"sha256:{sha256}",)
    return download.File(name, "BinaryMNIST", digests, (MIRROR + name,), megabytes)


TRAIN = _file("train", "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d", 78.4)
VALID = _file("valid", "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2", 15.7)
TEST = _file("test", "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c", 15.7)


@dataclass(frozen=True)
class MnistFixed:
    """50,000 + 10,000 images, of which the last `valid` are held out, and 10,000 test images."""

    name: str = "mnist_fixed"
    valid: int = 10_000
    files: ClassVar[tuple[download.File, ...]] = (TRAIN, VALID, TEST)

    def __post_init__(self) -> None:
        require(0 <= self.valid < 60_000, f"valid must be in [0, 60000), got {self.valid}")

    def load(self) -> Dataset:
        """Return the three files in their order, those of train and valid as one."""
        images = np.concatenate([_images(download.read(TRAIN)), _images(download.read(VALID))])
        cut = len(images) - self.valid
        return Dataset(
            name=self.name,
            label="fixed MNIST",
            binarisation=FIXED,
            train=images[:cut],
            valid=images[cut:],
            test=_images(download.read(TEST)),
            image_shape=(28, 28),
        )


def _images(content: download.Content) -> NDArray[np.float32]:
    """Return the images of lines such as `0 1 0`, [N, 784]; every cell is a digit and a blank."""
    cells = np.frombuffer(content.data, np.uint8)
    if not cells.size or cells.size % (2 * PIXELS):
        raise DataError(f"{content.origin} does not hold lines of {PIXELS} pixels")
    pixels = cells[::2].reshape(-1, PIXELS) - ord("0")
    if pixels.max() > 1:  # unsigned: whatever lies below "0" has become large
        raise DataError(f"{content.origin} holds something else than 0 and 1")
    return pixels.astype(np.float32)
