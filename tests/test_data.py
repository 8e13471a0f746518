"""The data sources: shapes, splits, values, and what bad files get."""

import gzip
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import loadmat, savemat
from sklearn.datasets import load_digits

from iwae_cli.core.errors import ConfigError, DataError
from iwae_cli.data import download
from iwae_cli.data.binarisation import DYNAMIC, FIXED
from iwae_cli.data.dataset import Dataset
from iwae_cli.data.digits import grey_levels
from iwae_cli.data.registry import describe, find, names

FOLDER = os.environ.get("IWAE_DATA_DIR")
real_files = pytest.mark.skipif(
    not FOLDER, reason="the real files are absent: set IWAE_DATA_DIR to the folder that holds them"
)


def load(name: str, **options: Any) -> Dataset:
    return find({"name": name, **options}).load()


def sizes(dataset: Dataset) -> tuple[int, int, int]:
    return len(dataset.train), len(dataset.valid), len(dataset.test)


def assert_one_line(error: BaseException, *parts: str) -> None:
    assert "\n" not in str(error)
    for part in parts:
        assert part in str(error)


# --- the registry -------------------------------------------------------------------------------


def test_every_source_is_named_as_its_class_says() -> None:
    assert names() == ["arrays", "digits", "mnist", "mnist_fixed", "omniglot"]
    for name in names():
        source = find({"name": name, "train": "x.npy"} if name == "arrays" else {"name": name})
        assert getattr(source, "name") == name  # noqa: B009  (a Source promises `load` alone)


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"name": "mnits"}, ["'mnits'", "did you mean 'mnist'", "omniglot"]),
        ({}, ["unknown dataset"]),
        ({"name": "mnist", "vald": 3}, ["'vald'", "did you mean 'valid'"]),
        ({"name": "mnist", "valid": 60_000}, ["valid", "60000"]),
        ({"name": "mnist", "valid": -1}, ["valid", "-1"]),
        ({"name": "mnist_fixed", "valid": 60_000}, ["valid"]),
        ({"name": "omniglot", "valid": "many"}, ["valid", "many"]),
        ({"name": "omniglot", "valid": 24_345}, ["valid", "24345"]),
        ({"name": "digits", "valid": 1397, "test": 400}, ["1797"]),
        ({"name": "digits", "test": 0}, ["test"]),
        ({"name": "arrays"}, ["train"]),
        ({"name": "arrays", "train": "???"}, ["train"]),
        ({"name": "arrays", "train": "x.npy", "valid": -1}, ["valid", "-1"]),
    ],
)
def test_a_wrong_dataset_node_is_one_line_of_config_error(
    values: dict[str, Any], parts: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        find(values)
    assert_one_line(caught.value, *parts)


# --- digits -------------------------------------------------------------------------------------


def test_digits_are_those_of_scikit_learn_wherever_it_keeps_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = load_digits().data
    assert np.array_equal(grey_levels(), expected)
    monkeypatch.setattr("iwae_cli.data.digits.find_spec", lambda _: None)
    assert np.array_equal(grey_levels(), expected)


def test_digits_need_no_files_and_are_split_1300_97_400(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IWAE_DATA_DIR", "/nowhere")
    digits = load("digits")
    assert sizes(digits) == (1300, 97, 400)
    assert digits.image_shape == (8, 8)
    assert digits.binarisation is DYNAMIC
    pixels = np.concatenate([digits.train, digits.valid, digits.test])
    assert pixels.dtype == np.float32
    assert set(np.unique(pixels * 16)) == set(range(17))


def test_the_digits_that_are_tested_do_not_depend_on_the_validation_split() -> None:
    assert np.array_equal(load("digits", valid=0).test, load("digits").test)


def test_a_data_set_described_in_plain_types() -> None:
    digits = load("digits", valid=0)
    described = describe(digits)
    assert described["label"] == "digits"
    assert described["content_hash"] == digits.content_hash
    assert described["image_shape"] == [8, 8]
    assert described["splits"]["train"]["images"] == 1397
    assert described["splits"]["test"]["max"] == 1.0
    assert described["splits"]["test"]["mean"] == pytest.approx(digits.test.mean(), abs=1e-6)
    assert described["splits"]["valid"] == {
        "images": 0, "pixels": 64, "mean": None, "min": None, "max": None,
    }  # fmt: skip


# --- the published files ------------------------------------------------------------------------


@real_files
def test_mnist_holds_out_the_last_400_of_60000() -> None:
    mnist, whole = load("mnist"), load("mnist", valid=0)
    assert (sizes(mnist), sizes(whole)) == ((59_600, 400, 10_000), (60_000, 0, 10_000))
    assert mnist.image_shape == (28, 28)
    assert mnist.binarisation is DYNAMIC
    assert np.array_equal(np.concatenate([mnist.train, mnist.valid]), whole.train)
    assert mnist.train.dtype == np.float32
    assert np.array_equal(np.unique(np.round(mnist.test * 255)), np.arange(256))
    assert mnist.train.mean(dtype="float64") == pytest.approx(0.1307, abs=5e-4)  # as published


@real_files
def test_plain_files_lying_flat_have_the_content_of_gzipped_ones_in_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gzipped = load("mnist").content_hash
    for name in ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte"):
        with gzip.open(Path(str(FOLDER)) / "MNIST/raw" / f"{name}.gz") as stream:
            (tmp_path / name).write_bytes(stream.read())
    monkeypatch.setenv("IWAE_DATA_DIR", str(tmp_path))
    assert load("mnist").content_hash == gzipped


@real_files
def test_fixed_mnist_is_50000_10000_10000_images_of_zeros_and_ones() -> None:
    fixed = load("mnist_fixed")
    assert sizes(fixed) == (50_000, 10_000, 10_000)
    assert fixed.binarisation is FIXED
    with gzip.open(Path(str(FOLDER)) / "BinaryMNIST/binarized_mnist_valid.amat.gz", "rt") as text:
        assert np.array_equal(fixed.valid[:20], np.loadtxt(text, max_rows=20))
    for images in (fixed.train, fixed.valid, fixed.test):
        assert images.shape[1] == 784
        assert ((images == 0) | (images == 1)).all()


@real_files
def test_omniglot_is_upright_and_split_as_the_authors_did() -> None:
    omniglot = load("omniglot")
    assert sizes(omniglot) == (23_000, 1345, 8070)
    file = loadmat(Path(str(FOLDER)) / "OMNIGLOT" / "chardata.mat")
    order = np.random.RandomState(123).permutation(24_345)
    for images, column, key in (
        (omniglot.test[7], 7, "testdata"),
        (omniglot.train[11], order[11], "data"),
        (omniglot.valid[13], order[23_013], "data"),
    ):
        picture = file[key][:, column].reshape(28, 28).T.astype(np.float32)
        assert np.array_equal(images.reshape(28, 28), picture)
        assert not np.array_equal(picture, picture.T)


@real_files
def test_every_copy_of_omniglot_is_called_what_it_is() -> None:
    content = download.read(
        download.File("chardata.mat", "OMNIGLOT", ("git:0", "sha256:0"), ()), strict=False
    )
    published = download._digest("git", content.data) == "016a3536ffe5e1d38e42563a18d7a78bfaf643ec"
    assert load("omniglot").label == ("OMNIGLOT" if published else "rebuilt OMNIGLOT")


@real_files
def test_a_damaged_file_of_the_user_is_named_and_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "train-images-idx3-ubyte.gz"
    raw = (Path(str(FOLDER)) / "MNIST/raw" / name).read_bytes()
    monkeypatch.setenv("IWAE_DATA_DIR", str(tmp_path))
    other = gzip.compress(gzip.decompress(raw)[:-1] + b"\x01", 1)
    for damaged, part in ((raw[:-1000], "truncated"), (other, "sha256:ba89"), (b"junk", "sha256:")):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(DataError) as caught:
            load("mnist")
        assert_one_line(caught.value, str(tmp_path / name), part, "unset IWAE_DATA_DIR")
        assert (tmp_path / name).read_bytes() == damaged


def test_git_digest_is_the_blob_id_that_git_gives() -> None:
    assert download._digest("git", b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


# --- an OMNIGLOT of someone else ----------------------------------------------------------------


@pytest.fixture
def own_omniglot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IWAE_DATA_DIR", str(tmp_path))
    return tmp_path / "chardata.mat"


def test_an_unknown_omniglot_loads_with_a_warning_and_says_so_in_its_label(
    own_omniglot: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = np.random.default_rng(0).random((784, 30))
    savemat(own_omniglot, {"data": data, "testdata": data[:, :10]})
    with caplog.at_level(logging.WARNING, "iwae"):
        omniglot = load("omniglot", valid=5)
    assert omniglot.label == "unknown OMNIGLOT"
    assert sizes(omniglot) == (25, 5, 10)
    assert "unknown OMNIGLOT" in caplog.text


@pytest.mark.parametrize(
    ("train", "part"),
    [
        (np.zeros((30, 784)), "[784, N]"),
        (np.full((784, 30), 2.0), "[0, 1]"),
        (np.full((784, 30), np.nan), "[0, 1]"),
        (np.zeros((784, 5)), "too few"),
    ],
)
def test_an_omniglot_of_wrong_structure_is_refused(
    own_omniglot: Path, train: NDArray[Any], part: str
) -> None:
    savemat(own_omniglot, {"data": train, "testdata": np.zeros((784, 3))})
    with pytest.raises(DataError) as caught:
        load("omniglot", valid=5)
    assert_one_line(caught.value, str(own_omniglot), part)


@pytest.mark.parametrize(
    "junk", [b"", b"junk", b"\x00" * 500, b"MATLAB 5.0 MAT-file" + b"\x01" * 600]
)
def test_an_omniglot_of_junk_is_refused(own_omniglot: Path, junk: bytes) -> None:
    own_omniglot.write_bytes(junk)
    with pytest.raises(DataError) as caught:
        load("omniglot")
    assert_one_line(caught.value, str(own_omniglot), "damaged")
