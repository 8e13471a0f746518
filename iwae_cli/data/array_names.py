"""Usual names of arrays in the user's files, and what the data of a file are called."""

import re
from collections.abc import Sequence
from pathlib import Path

from iwae_cli.core.errors import DataError
from iwae_cli.data import array_files

# Usual names of the arrays of a file, in any case
NAMES = {
    "train": (
        "train",
        "x_train",
        "train_x",
        "train_images",
        "train_data",
        "xtrain",
        "images_train",
    ),
    "test": ("test", "x_test", "test_x", "test_images", "test_data", "xtest", "images_test"),
    "valid": (
        *("valid", "val", "validation", "x_valid", "x_val", "valid_x", "val_x", "valid_images"),
        *("val_images", "validation_images", "valid_data", "val_data", "xvalid", "xval"),
    ),
}


def label_of(path: str) -> str:
    """Return what results call the data of a file, as a folder may be named."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", Path(path).stem)


def usual(path: str, split: str, names: Sequence[str] | None = None) -> str | None:
    """Return the name under which a file holds a split; None where its array has no name.

    Raises:
        DataError: The file has names and none is a usual one.
    """
    names = array_files.keys_of(path) if names is None else names
    if not names:
        return None
    found = [name for name in names if name.lower() in NAMES[split]]
    if not found and len(names) == 1:
        return names[0]
    if not found:
        raise DataError(
            f"{path} has no array '{split}'; it has: {', '.join(names)}; usual names are "
            f"{', '.join(NAMES[split][:5])}"
        )
    return found[0]
