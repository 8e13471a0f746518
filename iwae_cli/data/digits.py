"""The 1,797 8x8 digits that scikit-learn carries: no files, no network."""

from dataclasses import dataclass

import numpy as np

from iwae_cli.core.config import require
from iwae_cli.data.binarisation import DYNAMIC
from iwae_cli.data.dataset import Dataset

IMAGES = 1797
GREY_LEVELS = 16


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
        from sklearn.datasets import load_digits  # slow to import

        images = (load_digits().data / GREY_LEVELS).astype(np.float32)
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
