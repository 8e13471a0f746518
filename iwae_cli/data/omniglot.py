"""OMNIGLOT at 28x28 in grey values: `chardata.mat` of the code published with the IWAE paper."""

import io
import logging
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from iwae_cli.core.config import require
from iwae_cli.core.errors import DataError
from iwae_cli.data import download
from iwae_cli.data.binarisation import DYNAMIC
from iwae_cli.data.dataset import Dataset

log = logging.getLogger("iwae")

LABELS = {
    "git:016a3536ffe5e1d38e42563a18d7a78bfaf643ec": "OMNIGLOT",
    "sha256:cd0dd6d52403bc2f24f897195a0bd83f0e9f708317d00a66ae42724e0d7a6c5d": "rebuilt OMNIGLOT",
}
UNKNOWN = "unknown OMNIGLOT"
FILE = download.File(
    "chardata.mat",
    "OMNIGLOT",
    tuple(LABELS),
    ("https://github.com/yburda/iwae/raw/master/datasets/OMNIGLOT/chardata.mat",),
    10.1,
)
SIDE = 28


@dataclass(frozen=True)
class Omniglot:
    """24,345 training images, of which `valid` are held out at random, and 8,070 test images."""

    name: str = "omniglot"
    valid: int = 1345
    files: ClassVar[tuple[download.File, ...]] = (FILE,)

    def __post_init__(self) -> None:
        require(0 <= self.valid < 24_345, f"valid must be in [0, 24345), got {self.valid}")

    def load(self) -> Dataset:
        """Return OMNIGLOT split as the authors did: permuted by seed 123, the last held out."""
        content = download.read(FILE, strict=False)
        label = LABELS[content.digest] if content.digest else UNKNOWN
        train, test = _images(content, "data"), _images(content, "testdata")
        if label == UNKNOWN:
            log.warning(
                "%s is neither the published file nor its rebuilt version; results will say '%s'",
                content.origin,
                UNKNOWN,
            )
        cut = len(train) - self.valid
        if cut < 1:
            raise DataError(
                f"{content.origin} has {len(train)} training images, too few to hold out "
                f"dataset.valid={self.valid}"
            )
        train = train[np.random.RandomState(123).permutation(len(train))]
        return Dataset(
            name=self.name,
            label=label,
            binarisation=DYNAMIC,
            train=train[:cut],
            valid=train[cut:],
            test=test,
            image_shape=(SIDE, SIDE),
        )


def _images(content: download.Content, key: str) -> NDArray[np.float32]:
    """Return one array of the file as upright images, [N, 784]; there they are columns, [784, N].

    A column lists its picture column by column, so read row by row it is transposed.
    """
    from scipy.io import loadmat  # slow to import

    try:
        columns = loadmat(io.BytesIO(content.data), variable_names=[key])[key]
    except Exception as error:  # scipy raises many kinds on a file that is none of its own
        raise DataError(
            f"{content.origin} is damaged: no array '{key}' can be read from it "
            f"({type(error).__name__})"
        ) from None
    shape, kind = columns.shape, columns.dtype.kind
    if len(shape) != 2 or shape[0] != SIDE * SIDE or shape[1] == 0 or kind not in "fu":
        raise DataError(f"{content.origin}: '{key}' must be numbers [784, N], got {list(shape)}")
    if not (columns.min() >= 0 and columns.max() <= 1):  # false for NaN, too
        raise DataError(f"{content.origin}: '{key}' must lie in [0, 1]")
    upright = columns.T.reshape(-1, SIDE, SIDE).transpose(0, 2, 1)
    return np.ascontiguousarray(upright, dtype=np.float32).reshape(-1, SIDE * SIDE)
