"""The user's own images, as numpy's .npy and .npz files."""

import zipfile
import zlib
from dataclasses import dataclass, field
from math import isnan, isqrt

import numpy as np
from numpy.typing import NDArray

from iwae_cli.core.config import NOT_IDENTITY, require
from iwae_cli.core.errors import DataError
from iwae_cli.data.dataset import Dataset

Images = NDArray[np.float32]


@dataclass(frozen=True)
class Arrays:
    """Images from .npy files, or from the keys `train`, `test` and `valid` of .npz files.

    An array is [N, D] or [N, height, width], of one of these types: floats in [0, 1]; uint8, to be
    divided by 255 unless every value of the array is 0 or 1; or bool.

    Attributes:
        name: `arrays`.
        train: Path of the training images.
        test: Path of the test images; None where `train` is a .npz that holds them.
        valid: Path of the held-out images, or their key in the .npz of `train`, or how many of the
            last training images to hold out. None: the key `valid` if there is one, else none.
    """

    name: str = "arrays"
    train: str = field(default="", metadata=NOT_IDENTITY)
    test: str | None = field(default=None, metadata=NOT_IDENTITY)
    valid: int | str | None = field(default=None, metadata=NOT_IDENTITY)

    def __post_init__(self) -> None:
        require(self.train != "", "train must name a .npy or .npz file")
        require(
            not isinstance(self.valid, int) or self.valid >= 0,
            f"valid must be 0 or more, or a file, got {self.valid}",
        )

    def load(self) -> Dataset:
        """Return the user's images in the order of their files."""
        train, shape = _images(self.train, "train")
        keys = _keys(self.train)
        if self.test is None and not keys:
            raise DataError(f"{self.train} holds training images only: set dataset.test=FILE")
        test, _ = _images(self.test or self.train, "test")
        train, valid = self._hold_out(train, keys)
        for split, images in (("test", test), ("valid", valid)):
            if images.shape[1] != train.shape[1]:
                raise DataError(
                    f"{self.train}: training images have {train.shape[1]} pixels, {split} images "
                    f"have {images.shape[1]}; all must be of one size"
                )
        return Dataset(
            name=self.name,
            label="arrays",
            binarization="fixed" if all(map(_is_binary, (train, valid, test))) else "dynamic",
            train=train,
            valid=valid,
            test=test,
            image_shape=shape,
        )

    def _hold_out(self, train: Images, keys: list[str]) -> tuple[Images, Images]:
        """Return the training images that remain, and the held-out ones."""
        valid = self.valid
        if valid is None:
            valid = "valid" if "valid" in keys else 0
        if isinstance(valid, int):
            cut = len(train) - valid
            if cut < 1:
                raise DataError(
                    f"{self.train} has {len(train)} training images, too few to hold out {valid}"
                )
            return train[:cut], train[cut:]
        held_out, _ = _images(self.train, valid) if valid in keys else _images(valid, "valid")
        return train, held_out


def _keys(path: str) -> list[str]:
    """Return the names of the arrays in a .npz file; none for a .npy."""
    if not zipfile.is_zipfile(path):
        return []
    with zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def _read(path: str, key: str) -> NDArray[np.generic]:
    """Return the array of a .npy file, or the one named `key` of a .npz file."""
    try:
        with open(path, "rb") as stream:
            loaded = np.load(stream, allow_pickle=False)  # a pickle could run any code
            array: NDArray[np.generic]
            if isinstance(loaded, np.ndarray):
                array = loaded
                return array
            if key in loaded.files:
                array = loaded[key]
                return array
            known = ", ".join(loaded.files) or "none"
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; dataset=digits needs no files") from None
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if "pickle" in reason:  # numpy's answer to anything that it does not know
            reason = "it is damaged, or holds Python objects"
        raise DataError(f"{path} is not a .npy or .npz file of plain numbers ({reason})") from None
    raise DataError(f"{path} has no array '{key}'; it has: {known}")


def _images(path: str, key: str) -> tuple[Images, tuple[int, int] | None]:
    """Return a file's images in [0, 1], [N, D], and their (height, width) if there is one."""
    array = _read(path, key)
    if array.ndim not in (2, 3) or array.size == 0:
        raise DataError(
            f"{path}: images must be [N, D] or [N, height, width] and not empty, "
            f"got {list(array.shape)}"
        )
    if array.dtype.kind != "f" and array.dtype not in (np.uint8, np.bool_):
        raise DataError(f"{path}: pixels must be uint8, bool or floats, got {array.dtype}")
    low, high = float(array.min()), float(array.max())
    if isnan(low):
        raise DataError(f"{path} holds NaN; pixels must lie in [0, 1]")
    scale = 255 if array.dtype == np.uint8 and high > 1 else 1
    if low < 0 or high > scale:
        raise DataError(f"{path}: pixels must lie in [0, 1], got {low:g} to {high:g}")
    images = np.divide(array.astype(np.float32), np.float32(scale))
    width = array[0].size
    if array.ndim == 3:
        return images.reshape(-1, width), (array.shape[1], array.shape[2])
    side = isqrt(width)
    return images, (side, side) if side * side == width else None


def _is_binary(images: Images) -> bool:
    """Return whether every pixel is 0 or 1."""
    return bool(((images == 0) | (images == 1)).all())
