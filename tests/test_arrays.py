"""The user's own arrays: what they may look like, and what is said where they may not."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from iwae_cli.core.errors import DataError
from iwae_cli.data.binarisation import DYNAMIC, FIXED
from iwae_cli.data.dataset import Dataset
from iwae_cli.data.registry import find

GREYS = np.linspace(0, 1, 3 * 12, dtype=np.float32).reshape(3, 12)


def load(name: str, **options: Any) -> Dataset:
    return find({"name": name, **options}).load()


def sizes(dataset: Dataset) -> tuple[int, int, int]:
    return len(dataset.train), len(dataset.valid), len(dataset.test)


def save(path: Path, array: NDArray[Any]) -> str:
    np.save(path, array)
    return str(path)


def assert_one_line(error: BaseException, *parts: str) -> None:
    assert "\n" not in str(error)
    for part in parts:
        assert part in str(error)


def test_arrays_of_three_npy_files(tmp_path: Path) -> None:
    train = save(tmp_path / "a.npy", GREYS.reshape(3, 3, 4))
    test = save(tmp_path / "b.npy", GREYS[:2])
    valid = save(tmp_path / "c.npy", GREYS[2:])
    arrays = load("arrays", train=train, test=test, valid=valid)
    assert sizes(arrays) == (3, 1, 2)
    assert arrays.image_shape == (3, 4)
    assert arrays.binarisation is DYNAMIC
    assert np.array_equal(arrays.train, GREYS)
    assert np.array_equal(arrays.test, GREYS[:2])


@pytest.mark.parametrize(
    ("valid", "expected"),
    [(None, (3, 1, 2)), ("valid", (3, 1, 2)), ("other", (3, 3, 2)), (0, (3, 0, 2)), (2, (1, 2, 2))],
)
def test_arrays_of_one_npz_hold_out_a_key_or_a_number(
    tmp_path: Path, valid: str | int | None, expected: tuple[int, int, int]
) -> None:
    path = tmp_path / "all.npz"
    labels = np.array([{}], dtype=object)  # a key that is not asked for is not read
    np.savez(path, train=GREYS, test=GREYS[1:], valid=GREYS[:1], other=GREYS, labels=labels)
    assert sizes(load("arrays", train=str(path), valid=valid)) == expected


def test_flat_images_are_square_where_they_can_be(tmp_path: Path) -> None:
    for pixels, shape in ((16, (4, 4)), (12, None)):
        path = save(tmp_path / "a.npy", np.full((2, pixels), 0.5))
        assert load("arrays", train=path, test=path).image_shape == shape


@pytest.mark.parametrize("kind", [np.uint8, np.bool_, np.float16, np.float64])
def test_zeros_and_ones_of_any_type_are_fixed_binarisation(tmp_path: Path, kind: type) -> None:
    bits = np.eye(4)
    path = save(tmp_path / "a.npy", bits.astype(kind))
    arrays = load("arrays", train=path, test=path)
    assert arrays.binarisation is FIXED
    assert np.array_equal(arrays.train, bits)


@settings(max_examples=25, deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 9))))
def test_uint8_images_equal_their_floats_divided_by_255(
    tmp_path_factory: pytest.TempPathFactory, images: NDArray[np.uint8]
) -> None:
    images[0, 0] = 255
    folder = tmp_path_factory.mktemp("arrays")
    whole = save(folder / "whole.npy", images)
    floats = save(folder / "floats.npy", images.astype(np.float32) / np.float32(255))
    first = load("arrays", train=whole, test=whole)
    second = load("arrays", train=floats, test=floats)
    assert first.content_hash == second.content_hash
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("bad", "parts"),
    [
        (np.full((2, 12), np.nan), ["NaN"]),
        (np.full((2, 12), np.inf), ["infinite values", "row 0"]),
        (np.full((2, 12), 1.5), ["[0, 1]", "1.5"]),
        (np.full((2, 12), -0.1), ["[0, 1]", "-0.1"]),
        (np.full((2, 12), 1e300), ["[0, 1]", "1e+300"]),
        (np.full((2, 12), 256), ["[0, 1]", "256", "divide"]),
        (np.full((2, 12), 255.0), ["[0, 1]", "divide them by 255"]),
        (np.full((2, 12), -1), ["[0, 1]", "-1", "likelihood=gaussian"]),
        (np.zeros((2, 12), dtype=complex), ["complex128"]),
        (np.full((2, 12), "a"), ["numbers"]),
        (np.zeros((0, 12)), ["empty", "[0, 12]"]),
        (np.zeros((2, 0)), ["empty", "[2, 0]"]),
        (np.zeros(12), ["[N, D]", "[12]"]),
        (np.zeros((2, 3, 4, 3)), ["[N, D]", "[2, 3, 4, 3]"]),
        (np.array([[{}]], dtype=object), ["plain numbers", "Python objects"]),
    ],
)
@pytest.mark.parametrize("role", ["train", "test", "valid"])
def test_bad_pixels_are_one_line_naming_the_file(
    tmp_path: Path, bad: NDArray[Any], parts: list[str], role: str
) -> None:
    good = save(tmp_path / "good.npy", GREYS)
    path = save(tmp_path / "bad.npy", bad)
    with pytest.raises(DataError) as caught:
        load("arrays", **{"train": good, "test": good, role: path})
    assert_one_line(caught.value, path, *parts)


def test_a_truncated_or_foreign_file_is_one_line_naming_it(tmp_path: Path) -> None:
    save(tmp_path / "good.npy", GREYS)
    np.savez(tmp_path / "good.npz", train=GREYS, test=GREYS)
    array, archive = (tmp_path / "good.npy").read_bytes(), (tmp_path / "good.npz").read_bytes()
    middle = len(archive) // 4
    flipped = archive[:middle] + bytes([archive[middle] ^ 255]) + archive[middle + 1 :]
    for i, junk in enumerate((b"", b"junk", array[:-9], array[:20], archive[:-30], flipped)):
        path = tmp_path / f"bad{i}.npy"
        path.write_bytes(junk)
        with pytest.raises(DataError) as caught:
            load("arrays", train=str(path), test=str(path))
        assert_one_line(caught.value, str(path), "plain numbers")


def test_arrays_that_do_not_fit_together_say_what_is_wrong(tmp_path: Path) -> None:
    train = save(tmp_path / "train.npy", GREYS)
    narrow = save(tmp_path / "narrow.npy", GREYS[:, :11])
    tall = save(tmp_path / "tall.npy", GREYS.reshape(3, 3, 4))
    wide = save(tmp_path / "wide.npy", GREYS.reshape(3, 4, 3))
    part = str(tmp_path / "part.npz")
    np.savez(part, train=GREYS)
    missing = str(tmp_path / "missing.npy")
    for options, parts in (
        ({"train": train, "test": narrow}, ["12", "11"]),
        ({"train": train, "test": train, "valid": narrow}, ["12", "11"]),
        ({"train": train, "test": train, "valid": 3}, [train, "too few"]),
        ({"train": train}, [train, "dataset.test"]),
        ({"train": part}, [part, "training images only", "dataset.test=0.2"]),
        ({"train": train, "test": missing}, [missing, "does not exist", "narrow.npy, part.npz"]),
        ({"train": train, "test": 3}, [train, "too few", "dataset.test"]),
        ({"train": str(tmp_path / "no" / "a.npy")}, ["there is no folder", "/no"]),
        ({"train": train, "test": 0.01}, [train, "too few"]),
        ({"train": train, "test": 0}, [train, "no test images"]),
        ({"train": train, "test": 0.2, "image_shape": [5, 3]}, ["12 pixels", "[5,3]"]),
        ({"train": tall, "test": wide}, ["(3, 4)", "(4, 3)"]),
        ({"train": str(tmp_path), "test": train}, [str(tmp_path)]),
    ):
        with pytest.raises(DataError) as caught:
            load("arrays", **options)
        assert_one_line(caught.value, *parts)
