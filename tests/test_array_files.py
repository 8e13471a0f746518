"""The kinds of files that hold a user's images, and how their splits are found."""

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import savemat
from test_arrays import GREYS, load, sizes

from iwae_cli.core.errors import ConfigError, DataError
from iwae_cli.data.array_files import read
from iwae_cli.data.arrays import Arrays
from iwae_cli.data.binarisation import FIXED
from iwae_cli.data.registry import loaded

WHOLE = np.arange(3 * 12, dtype=np.uint8).reshape(3, 12) * 7


def write_idx(path: Path, array: NDArray[Any], code: int) -> Path:
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape)
    content = header + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write(folder: Path, kind: str) -> Path:
    """Write WHOLE, or WHOLE / 255, as a file of this kind; return its path."""
    path = folder / f"images{kind}"
    if kind == ".npy":
        np.save(path, WHOLE)
    elif kind == ".npz":
        np.savez(path, X_train=WHOLE)
    elif kind == ".mat":
        savemat(path, {"faces": WHOLE})
    elif kind == ".csv":
        np.savetxt(path, WHOLE, fmt="%d", delimiter=",")
    elif kind == ".float.csv":
        np.savetxt(path, WHOLE / 255, delimiter=",")
    elif kind in (".idx", ".idx.gz"):
        write_idx(path, WHOLE.reshape(3, 3, 4), 8)
    else:
        write_idx(path, (WHOLE / 255).astype(">f4"), 13)
    return path


@pytest.mark.parametrize(
    "kind", [".npy", ".npz", ".mat", ".csv", ".float.csv", ".idx", ".idx.gz", ".float.idx"]
)
def test_every_kind_of_file_holds_the_same_images(tmp_path: Path, kind: str) -> None:
    path = str(write(tmp_path, kind))
    found = load("arrays", train=path, test=path)
    np.testing.assert_allclose(found.train, WHOLE / 255, atol=1e-6)
    assert found.image_shape == ((3, 4) if kind in (".idx", ".idx.gz") else None)
    assert found.label == Path(path).stem


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("x_train", "x_test", "x_val"), (3, 1, 2)),
        (("train_images", "test_images", "val_images"), (3, 1, 2)),
        (("train_data", "test_data", "other"), (3, 0, 2)),
        (("TRAIN", "Test", "VALID"), (3, 1, 2)),
    ],
)
@pytest.mark.parametrize("suffix", [".npz", ".mat"])
def test_the_usual_names_of_splits_are_found(
    tmp_path: Path, suffix: str, names: tuple[str, ...], expected: tuple[int, int, int]
) -> None:
    path = tmp_path / f"all{suffix}"
    arrays: dict[str, Any] = dict(zip(names, (GREYS, GREYS[1:], GREYS[:1]), strict=True))
    np.savez(path, **arrays) if suffix == ".npz" else savemat(path, arrays)
    assert sizes(load("arrays", train=str(path))) == expected


@pytest.mark.parametrize("shape", [(-1, 4, 5), (-1, 1, 4, 5), (-1, 4, 5, 1)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_images_may_have_a_channel_and_any_order_in_memory(
    tmp_path: Path, shape: tuple[int, ...], order: Any
) -> None:
    images = np.random.default_rng(0).random((6, 20), dtype=np.float32)
    np.save(tmp_path / "a.npy", np.asarray(images.reshape(shape), order=order))
    found = load("arrays", train=str(tmp_path / "a.npy"), test=2)
    assert np.array_equal(np.vstack([found.train, found.test]), images)
    assert found.image_shape == (4, 5)


@pytest.mark.parametrize("kind", ["?", "i1", "u2", "i4", "u8", "f2", "f4", "f8"])
def test_every_type_of_number_is_read(tmp_path: Path, kind: str) -> None:
    np.save(tmp_path / "a.npy", np.eye(4).astype(kind))
    found = load("arrays", train=str(tmp_path / "a.npy"), test=1)
    assert np.array_equal(found.train, np.eye(4)[:3])
    assert found.binarisation is FIXED


def test_one_scale_serves_all_splits(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", train=WHOLE, test=np.eye(12, dtype=np.uint8))
    found = load("arrays", train=str(tmp_path / "a.npz"))
    assert found.test.max() == np.float32(1 / 255)
    np.save(tmp_path / "b.npy", np.full((3, 4), 1 + 1e-7))  # off by rounding
    assert load("arrays", train=str(tmp_path / "b.npy"), test=1).train.max() == 1


def test_shares_are_held_out_at_random_and_say_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = np.arange(200, dtype=np.float32).reshape(50, 4) / 200
    np.save(tmp_path / "rows.npy", images)
    options: dict[str, Any] = {"train": str(tmp_path / "rows.npy"), "test": 0.2, "valid": 0.1}
    with caplog.at_level("INFO", logger="iwae"):
        found = load("arrays", **options)
    assert sizes(found) == (36, 4, 10)
    assert "10 of 50 images at random are the split 'test' (dataset.split_seed=0)" in caplog.text
    together = np.vstack([found.train, found.valid, found.test])
    assert np.array_equal(together[np.argsort(together[:, 0])], images), "each image once"
    assert load("arrays", **options).content_hash == found.content_hash
    assert load("arrays", **options, split_seed=1).content_hash != found.content_hash
    assert load("arrays", **options, label="own").label == "own"
    assert load("arrays", **options, image_shape=[1, 4]).image_shape == (1, 4)


def test_a_csv_may_have_empty_lines(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2\n\n3,4\n\n")
    assert read(str(tmp_path / "a.csv")).tolist() == [[1, 2], [3, 4]]


def test_a_real_likelihood_takes_values_as_they_are(tmp_path: Path) -> None:
    """But for grey levels of one byte; and a table with a square number of columns is no image."""
    values = np.asfortranarray(np.random.default_rng(0).normal(size=(10, 9)) * 300)
    np.save(tmp_path / "table.npy", values)
    source = Arrays(train=str(tmp_path / "table.npy"), test=0.2)
    table = loaded(source, real=True)
    assert table.image_shape is None
    both = np.vstack([table.train, table.test])
    expected = values.astype(np.float32)
    assert np.array_equal(both[np.argsort(both[:, 0])], expected[np.argsort(expected[:, 0])])
    with pytest.raises(DataError, match="negative values are for likelihood=gaussian"):
        loaded(source)
    np.save(tmp_path / "levels.npy", np.full((4, 8, 8), 51, np.uint8))
    levels = loaded(Arrays(train=str(tmp_path / "levels.npy"), test=1), real=True)
    assert levels.train.max() == np.float32(0.2)
    assert levels.image_shape == (8, 8)
    np.save(tmp_path / "nan.npy", np.array([[0.0, np.nan]]))
    with pytest.raises(DataError, match="holds NaN, 1 in all, the first in row 0"):
        loaded(Arrays(train=str(tmp_path / "nan.npy"), test=1), real=True)


def test_paths_are_stored_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", train=GREYS, test=GREYS, valid=GREYS[:1])
    from iwae_cli.data.registry import find

    source: Any = find({"name": "arrays", "train": "a.npz", "valid": "valid"})
    assert source.train == str(tmp_path / "a.npz")
    assert source.valid == "valid", "a name in the file is no path"


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("words.csv", b"a,b\n1,2\n", ["line 1 holds 'a'", "no headings"]),
        ("ragged.csv", b"1,2\n1,2,3\n", ["line 2 has 3 numbers, the first has 2"]),
        ("empty.csv", b"", ["not empty"]),
        ("bad.mat", b"junk", ["plain numbers", ".mat"]),
        ("bad.csv", b"\xff\xfe", ["plain numbers"]),
        ("short.idx", bytes([0, 0, 8, 2]) + struct.pack(">2i", 2, 2) + b"abc", ["its header says"]),
        ("header.idx", bytes([0, 0, 8, 3, 0]), ["plain numbers"]),
    ],
)
def test_files_that_are_no_numbers_are_one_line(
    tmp_path: Path, name: str, content: bytes, parts: list[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        load("arrays", train=str(tmp_path / name), test=0.5)
    assert "\n" not in str(caught.value)
    assert all(part in str(caught.value) for part in [name, *parts])


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"test": 1.0}, "test must be a share in (0, 1)"),
        ({"valid": -1}, "valid must be 0 or more"),
        ({"label": "a/b"}, "label may have"),
        ({"image_shape": [3]}, "image_shape must be [height, width]"),
        ({"train": ""}, "train must name a file"),
    ],
)
def test_options_out_of_range_are_one_line(options: dict[str, Any], part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load("arrays", **{"train": "a.npy", **options})
    assert part in str(caught.value)
