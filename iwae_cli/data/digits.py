"""The 1,797 8x8 digits that scikit-learn carries: no files, no network."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from iwae_cli.core.config import require
from iwae_cli.data.binarisation import DYNAMIC
from iwae_cli.data.dataset import Dataset

IMAGES = 1797
GREY_LEVELS = 16


def grey_levels() -> NDArray[np.float64]:
    """Return the images of `sklearn.datasets.load_digits`, in 0..16, [1797, 64].

    Importing scikit-learn takes a second, so that its file is read where it lies as expected.
    """
    found = find_spec("sklearn")
    for folder in (found.submodule_search_locations or []) if found else []:
        file = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            return np.loadtxt(file, delimiter=",")[:, :-1]  # the last column is the label
    from sklearn.datasets import load_digits

    images: NDArray[np.float64] = load_digits().data
    return images


@dataclass(frozen=True)
class Digits:
    """All digits in one fixed random order: training images, then `valid`, then `test` images."""

    name: str = "digits"
    valid: int = 97
    test: int = 400

    def __post_init__(self) -> None:
        require(self.valid >= 0, f"valid must be 0 or more, got {self.valid}")
        require(self.test >= 1, f"test must be 1 or more, got {self.test}")
        require(
            self.valid + self.test < IMAGES,
            f"valid + test must be below {IMAGES}, got {self.valid + self.test}",
        )

    def load(self) -> Dataset:
        """Return the digits, permuted by seed 123, pixels divided by 16."""
        images = (grey_levels() / GREY_LEVELS).astype(np.float32)
        assert len(images) == IMAGES
        images = images[np.random.RandomState(123).permutation(IMAGES)]
        train = IMAGES - self.test - self.valid
        return Dataset(
            name=self.name,
            label="digits",
            binarisation=DYNAMIC,
            train=images[:train],
            valid=images[train : train + self.valid],
            test=images[train + self.valid :],
            image_shape=(8, 8),
        )
