"""Arrays of pixels become images, one row an image: grey values in [0, 1], or real numbers."""

from collections.abc import Mapping
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iwae_cli.core.errors import DataError

Images = NDArray[np.float32]
Shape = tuple[int, int]
# Floats may be off [0, 1] by rounding of this size; they are clipped.
ROUNDING = 1e-5


def image_shape(array: NDArray[Any], path: str) -> Shape | None:
    """Return the (height, width) of an array's images; of flat ones if they can be square.

    Args:
        array: [N, D], [N, H, W], [N, 1, H, W] or [N, H, W, 1].
        path: Its file, for messages.

    Raises:
        DataError: Another shape, or no pixels.
    """
    shape = array.shape
    if len(shape) == 4 and 1 in (shape[1], shape[3]):  # one channel
        shape = (shape[0], *(shape[2:] if shape[1] == 1 else shape[1:3]))
    if len(shape) not in (2, 3) or array.size == 0:
        raise DataError(
            f"{path}: images must be [N, D], [N, height, width] or those with one channel, and "
            f"not empty, got {list(array.shape)}"
        )
    if len(shape) == 3:
        return int(shape[1]), int(shape[2])
    side = isqrt(shape[1])
    return (side, side) if side * side == shape[1] else None


def real_values(arrays: Mapping[str, tuple[str, NDArray[Any]]]) -> tuple[dict[str, Images], int]:
    """Return numbers of all splits as they are, [N, D], float32, and what they were divided by.

    Grey levels, known by their type of one byte without sign, are divided by 255.

    Args:
        arrays: File and array of each split.

    Raises:
        DataError: NaN or infinite values, or types that are no numbers.
    """
    for path, array in arrays.values():
        check_finite(array, path)
    levels = {split for split, (_, array) in arrays.items() if array.dtype == np.uint8}
    made = {
        split: np.ascontiguousarray(array).reshape(len(array), -1).astype(np.float32)
        / np.float32(255 if split in levels else 1)
        for split, (_, array) in arrays.items()
    }
    return made, 255 if levels else 1


def check_finite(array: NDArray[Any], path: str) -> None:
    """Refuse values that are no numbers, NaN or infinite.

    Raises:
        DataError: There are some.
    """
    if array.dtype.kind not in "fiub":
        raise DataError(f"{path}: pixels must be numbers, got the type {array.dtype}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        wrong = np.argwhere(~np.isfinite(array))
        kind = "NaN" if np.isnan(array[tuple(wrong[0])]) else "infinite values"
        raise DataError(
            f"{path} holds {kind}, {len(wrong)} in all, the first in row {wrong[0][0]} (from 0): "
            "take these rows out or replace the values"
        )


def scaled(arrays: Mapping[str, tuple[str, NDArray[Any]]]) -> tuple[dict[str, Images], int]:
    """Return the images of all splits, [N, D], float32 in [0, 1], and what they were divided by.

    Whole numbers are divided by 255 unless all are 0 or 1; it is one rule for all splits.

    Args:
        arrays: File and array of each split.

    Raises:
        DataError: Values that are no grey values, or types that are no numbers.
    """
    highest = 0.0
    for path, array in arrays.values():
        check_finite(array, path)
        low, high = (float(found) for found in (array.min(), array.max()))
        whole = array.dtype.kind != "f"
        if low < (0 if whole else -ROUNDING) or high > (255 if whole else 1 + ROUNDING):
            raise DataError(
                f"{path}: pixels must lie in [0, 1], got {low:g} to {high:g}: {advice(low, high)}"
            )
        if whole:
            highest = max(highest, high)
    scale = 255 if highest > 1 else 1
    return {split: unit(array, scale) for split, (_, array) in arrays.items()}, scale


def advice(low: float, high: float) -> str:
    """Return what to do with values from `low` to `high`, which are not all in [0, 1]."""
    if low < 0:
        return "negative values are for likelihood=gaussian"
    divisor = 255 if 2 < high <= 255 else high
    return f"divide them by {divisor:g}, or take them as they are with likelihood=gaussian"


def unit(array: NDArray[Any], scale: int) -> Images:
    """Return an array as rows in [0, 1], [N, D]."""
    divisor = np.float32(1 if array.dtype.kind == "f" else scale)
    rows = np.ascontiguousarray(array).reshape(len(array), -1).astype(np.float32)
    return np.clip(np.divide(rows, divisor), 0, 1)


def is_binary(images: Images) -> bool:
    """Return whether every pixel is 0 or 1."""
    return bool(((images == 0) | (images == 1)).all())


def rows(array: NDArray[Any], pixels: int, name: str, *, real: bool = False) -> Images:
    """Return images as a model of so many pixels reads them, [N, D], float32 in [0, 1].

    Args:
        array: See `image_shape` and `scaled`.
        pixels: D.
        name: Of the images, for messages.
        real: Whether pixels may be any real numbers, which are not scaled.

    Raises:
        DataError: They are no images, or not of that size.
    """
    image_shape(array, name)
    read = real_values if real else scaled
    found = read({"images": (name, array)})[0]["images"]
    if found.shape[1] != pixels:
        raise DataError(
            f"{name}: images of {found.shape[1]} pixels, the model was trained on {pixels}"
        )
    return found
