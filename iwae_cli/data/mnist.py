"""MNIST in grey values: LeCun, Cortes and Burges's idx files, binarised anew at every use."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from iwae_cli.core.config import require
from iwae_cli.core.errors import DataError
from iwae_cli.data import download
from iwae_cli.data.binarisation import DYNAMIC
from iwae_cli.data.dataset import Dataset

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
HEADER_BYTES = 16
IMAGES_OF_BYTES = 2051  # an idx file of unsigned bytes in three dimensions


def _file(name: str, sha256: str, megabytes: float) -> download.File:
    urls = tuple(f"{mirror}{name}.gz" for mirror in MIRRORS)
    return download.File(name, "MNIST/raw", (f"sha256:{sha256}",), urls, megabytes)


TRAIN = _file(
    "train-images-idx3-ubyte",
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    9.7,
)
TEST = _file(
    "t10k-images-idx3-ubyte",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    1.6,
)


@dataclass(frozen=True)
class Mnist:
    """60,000 training images, of which the last `valid` are held out, and 10,000 test images."""

    name: str = "mnist"
    valid: int = 400
    files: ClassVar[tuple[download.File, ...]] = (TRAIN, TEST)

    def __post_init__(self) -> None:
        require(0 <= self.valid < 60_000, f"valid must be in [0, 60000), got {self.valid}")

    def load(self) -> Dataset:
        """Return MNIST in the order of its files, pixels divided by 255."""
        images = _images(download.read(TRAIN))
        cut = len(images) - self.valid
        return Dataset(
            name=self.name,
            label="MNIST",
            binarisation=DYNAMIC,
            train=images[:cut],
            valid=images[cut:],
            test=_images(download.read(TEST)),
            image_shape=(28, 28),
        )


def _images(content: download.Content) -> NDArray[np.float32]:
    """Return the images of an idx file, [N, height * width] in [0, 1]."""
    if len(content.data) < HEADER_BYTES:
        raise DataError(f"{content.origin} is not an idx file of images")
    magic, count, height, width = (int(n) for n in np.frombuffer(content.data, ">u4", 4))
    pixels = np.frombuffer(content.data, np.uint8, offset=HEADER_BYTES)
    if magic != IMAGES_OF_BYTES or len(pixels) != count * height * width:
        raise DataError(f"{content.origin} is not an idx file of images")
    return np.divide(pixels.reshape(count, height * width), 255, dtype=np.float32)
