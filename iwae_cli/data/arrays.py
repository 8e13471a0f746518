"""The user's own images: which array is which split, and what is held out."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iwae_cli.core.config import check_name, require
from iwae_cli.core.errors import DataError
from iwae_cli.core.identity import NOT_IDENTITY
from iwae_cli.core.seeding import derived_seed
from iwae_cli.data import array_files, pixels
from iwae_cli.data.array_names import NAMES, label_of, usual
from iwae_cli.data.binarisation import DYNAMIC, FIXED
from iwae_cli.data.dataset import Dataset

log = logging.getLogger("iwae")
Held = tuple[str, NDArray[Any]]  # a file and its array
Splits = Mapping[str, Held]
# Flat rows of fewer real numbers are those of a table, not of square images
FEWEST_PIXELS = 64


@dataclass(frozen=True)
class Arrays:
    """Images from files of numbers: .npy, .npz, .mat, idx and .csv.

    An array is [N, D], [N, H, W], [N, 1, H, W] or [N, H, W, 1]: floats in [0, 1], or whole numbers
    up to 255, which are divided by 255 unless all are 0 or 1.

    Attributes:
        name: `arrays`.
        train: Path of the training images.
        test: Path of the test images, or the share or number of the training images to hold out;
            None where `train` holds them under a usual name.
        valid: Path of the held-out images, or their name in the file of `train`, or the share or
            number of the training images to hold out. None: the usual name if there is one, else
            none. A number takes the last images, a share takes images at random.
        label: What results call the data; None for the stem of the file's name.
        image_shape: Height and width of flat images; None for a square where they can be one.
        split_seed: Of the images at random.
    """

    name: str = "arrays"
    train: str = field(default="", metadata=NOT_IDENTITY)
    test: int | float | str | None = field(default=None, metadata=NOT_IDENTITY)
    valid: int | float | str | None = field(default=None, metadata=NOT_IDENTITY)
    label: str | None = field(default=None, metadata=NOT_IDENTITY)
    image_shape: list[int] | None = field(default=None, metadata=NOT_IDENTITY)
    split_seed: int = field(default=0, metadata=NOT_IDENTITY)

    def __post_init__(self) -> None:
        require(self.train != "", "train must name a file")
        for key in ("train", "test", "valid"):
            value = getattr(self, key)
            if isinstance(value, str) and (key != "valid" or Path(value).exists()):
                # a run may be resumed and evaluated from another folder
                object.__setattr__(self, key, str(Path(value).expanduser().absolute()))
            if isinstance(value, float):
                require(0 < value < 1, f"{key} must be a share in (0, 1), or a file, got {value}")
            elif isinstance(value, int):
                require(value >= 0, f"{key} must be 0 or more, or a file, got {value}")
        if self.label is not None:
            check_name("label", self.label)
        shape = self.image_shape
        require(
            shape is None or (len(shape) == 2 and min(shape) > 0),
            f"image_shape must be [height, width], got {shape}",
        )

    def __hash__(self) -> int:
        return hash((self.train, str(self.test), str(self.valid)))

    def moved(self, train: str) -> "Arrays":
        """Return the same images in another place.

        Args:
            train: Path of the training images; files of test and held-out images that are where
                they were no longer are looked for beside it, under the same name.
        """
        found = {"train": train, "label": self.label or label_of(self.train)}
        for key in ("test", "valid"):
            value = getattr(self, key)
            beside = Path(train).parent / Path(str(value)).name
            if isinstance(value, str) and not Path(value).exists() and beside.exists():
                found[key] = str(beside)
        return replace(self, **found)  # type: ignore[arg-type]  # paths and a name

    def load(self) -> Dataset:
        """Return the user's images, with pixels in [0, 1].

        Raises:
            DataError: A file is missing or damaged, or its arrays are no images.
        """
        return self.loaded(pixels.scaled)

    def load_real(self) -> Dataset:
        """Return the user's images, or rows of a table, whose values may be any real numbers.

        Raises:
            DataError: A file is missing or damaged, or its arrays are no images.
        """
        found = self.loaded(pixels.real_values)
        small = found.train.shape[1] < FEWEST_PIXELS  # a table whose columns happen to be square
        return replace(found, image_shape=None) if small and not self.image_shape else found

    def loaded(self, read: Callable[[Splits], tuple[dict[str, pixels.Images], int]]) -> Dataset:
        """Return the user's images, with values as `read` makes them of the arrays."""
        names = array_files.keys_of(self.train)
        train = self.array("train", names)
        test = self.array("test", names) if self.test is None else None
        if isinstance(self.test, str):
            test = self.test, array_files.read(self.test, usual(self.test, "test"))
        valid = self.array_of_valid(names)
        parts = {"train": train, "test": test, "valid": valid}
        splits = {split: held for split, held in parts.items() if held is not None}
        shapes = {split: pixels.image_shape(array, file) for split, (file, array) in splits.items()}
        check_sizes(splits, shapes)
        images, scale = read(splits)
        if scale > 1:
            log.info("%s: whole numbers, divided by %d", self.train, scale)
        rest = images["train"]
        if test is None:
            rest, images["test"] = self.held_out(rest, self.test, "test")
        if valid is None:
            rest, images["valid"] = self.held_out(rest, self.valid or 0, "valid")
        if not len(images["test"]):
            raise DataError(f"{self.train}: there are no test images; set dataset.test")
        label = self.label or label_of(self.train)
        return Dataset(
            name=label,
            label=label,
            binarisation=FIXED if all(map(pixels.is_binary, images.values())) else DYNAMIC,
            train=rest,
            valid=images["valid"],
            test=images["test"],
            image_shape=self.shape_of(rest, shapes["train"]),
        )

    def array(self, split: str, names: Sequence[str]) -> Held:
        """Return the array of a split in the file of the training images."""
        if len(names) < 2 and split != "train":
            raise DataError(
                f"{self.train} holds training images only: set dataset.test=FILE, or a share as in "
                "dataset.test=0.2"
            )
        return self.train, array_files.read(self.train, usual(self.train, split, names))

    def array_of_valid(self, names: Sequence[str]) -> Held | None:
        """Return the held-out images where they are an array, None where they are to be split."""
        if self.valid is None:
            found = [name for name in names if name.lower() in NAMES["valid"]]
            return (self.train, array_files.read(self.train, found[0])) if found else None
        if not isinstance(self.valid, str):
            return None
        if self.valid in names:
            return self.train, array_files.read(self.train, self.valid)
        return self.valid, array_files.read(self.valid, usual(self.valid, "valid"))

    def held_out(
        self, images: pixels.Images, part: int | float | str | None, split: str
    ) -> tuple[pixels.Images, pixels.Images]:
        """Return the images that remain, and those held out: the last ones, or some at random."""
        assert isinstance(part, int | float)
        number = round(part * len(images)) if isinstance(part, float) else part
        if number >= len(images) or (isinstance(part, float) and not number):
            raise DataError(
                f"{self.train} has {len(images)} training images, too few to hold out {part}: "
                f"set another dataset.{split}, a share or a number"
            )
        if isinstance(part, int):
            return images[: len(images) - number], images[len(images) - number :]
        generator = np.random.default_rng(derived_seed(self.split_seed, split))
        order = generator.permutation(len(images))
        log.info(
            "%s: %d of %d images at random are the split '%s' (dataset.split_seed=%d)",
            *(self.train, number, len(images), split, self.split_seed),
        )
        return images[np.sort(order[number:])], images[np.sort(order[:number])]

    def shape_of(self, images: pixels.Images, found: pixels.Shape | None) -> pixels.Shape | None:
        """Return the (height, width) of the images: the one asked for, or the one found."""
        if self.image_shape is None:
            return found
        height, width = self.image_shape
        if height * width != images.shape[1]:
            raise DataError(
                f"{self.train}: images have {images.shape[1]} pixels, not dataset.image_shape="
                f"[{height},{width}]"
            )
        return height, width


def read_images(path: str) -> NDArray[Any]:
    """Return the images of a file with one array, or those that it calls test images.

    Raises:
        DataError: The file is missing or damaged, or its arrays have other names.
    """
    return array_files.read(path, usual(path, "test"))


def check_sizes(splits: dict[str, Held], shapes: dict[str, pixels.Shape | None]) -> None:
    """Refuse splits whose images have other sizes than the training images.

    Raises:
        DataError: There is one.
    """
    file, train = splits["train"]
    for split, (_, array) in splits.items():
        ours, theirs = train[0].size, array[0].size
        if ours != theirs:
            raise DataError(
                f"{file}: training images have {ours} pixels, {split} images have {theirs}; all "
                "must be of one size"
            )
        if array.ndim > 2 and train.ndim > 2 and shapes[split] != shapes["train"]:
            raise DataError(
                f"{file}: training images are {shapes['train']}, {split} images {shapes[split]}"
            )
