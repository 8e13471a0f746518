"""Scores and encodings of images that are in no data set."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Command, tiny_run

import iwae_cli as iwae
from iwae_cli.core.errors import DataError
from iwae_cli.data.registry import loaded


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained run on the digits, and a file of its test images."""
    folder = tmp_path_factory.mktemp("scores")
    from run_folders import command

    done = command(*tiny_run(), cwd=folder)
    assert done.returncode == 0, done.stderr
    from iwae_cli.data.registry import find

    test = find({"name": "digits"}).load().test[:9]
    np.save(folder / "new.npy", test.reshape(-1, 8, 8))
    np.save(folder / "wide.npy", np.zeros((2, 63)))
    return folder


@pytest.mark.long
def test_scores_are_the_evaluation_of_each_image(home: Path, iwae: Command, tmp_path: Path) -> None:
    (run,) = (home / "outputs" / "runs").iterdir()
    before = sorted(path.name for path in run.iterdir())
    done = iwae("eval", run, "--data", home / "new.npy", "--k", "20", "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in run.iterdir()) == before, "eval.csv is left alone"
    table = pd.read_csv(tmp_path / "scores_new.csv")
    assert list(table) == ["image", "log_p", "se", "ess"]
    assert iwae("eval", run, "--k", "20", "--limit", "9").returncode == 0
    nll = pd.read_csv(run / "eval.csv")["nll"].iloc[-1]
    assert -table["log_p"].mean() == pytest.approx(nll, abs=1e-6)
    expected = np.sqrt(1 / table["ess"] - 1 / 20)
    np.testing.assert_allclose(table["se"], expected, rtol=1e-9)
    default = iwae("eval", run, "--data", home / "new.npy", "--k", "1", "--limit", "3")
    assert "scores_new.csv" in default.stdout
    assert len(pd.read_csv(run / "scores_new.csv")) == 3


def test_images_of_a_file_are_encoded(home: Path, tmp_path: Path) -> None:
    (run,) = (home / "outputs" / "runs").iterdir()
    from iwae_cli.evaluation.encoding import encode

    told = encode(run, data=home / "new.npy", k=7, output=tmp_path / "new.npz")
    assert told["images"] == 9
    with np.load(tmp_path / "new.npz") as stored:
        direct = iwae.load(run).encode(np.load(home / "new.npy"), k=7)
        assert np.array_equal(stored["mean_1"], direct.means[0])


def test_a_run_is_evaluated_on_its_own_data_wherever_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training and test images, a share of the former held out, both files moved."""
    from iwae_cli.evaluation.trained_run import is_own

    values = np.random.default_rng(0).normal(size=(60, 5))
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
    np.save(tmp_path / "here" / "a.npy", values[:50])
    np.save(tmp_path / "here" / "b.npy", values[50:])
    monkeypatch.chdir(tmp_path / "here")
    shape = ("arch.latents=[2]", "arch.hidden=[[3]]", "k=2", "optimizer.passes=1")
    files = ("dataset.train=a.npy", "dataset.test=b.npy", "dataset.valid=0.2")
    run = iwae.train("dataset=arrays", *files, "likelihood=gaussian", *shape).folder.absolute()
    before = iwae.evaluate(run, k=[3])
    for name in ("a.npy", "b.npy"):
        (tmp_path / "here" / name).rename(tmp_path / "there" / name)
    loaded.cache_clear()
    with pytest.raises(DataError, match=r"a\.npy does not exist.*--data FILE"):
        iwae.evaluate(run, k=[3])
    moved = tmp_path / "there" / "a.npy"
    assert is_own(run, moved)
    after = iwae.evaluate(run, k=[3, 4], data=moved)
    assert after["nll"][0] == before["nll"][0]
    assert set(after["likelihood"]) == {"gaussian"}
    assert set(after["binarization"]) == {"none"}
    np.save(tmp_path / "there" / "b.npy", values[:10])
    loaded.cache_clear()
    assert not is_own(run, moved)


@pytest.mark.parametrize(
    ("arguments", "part", "code"),
    [
        (["--data", "wide.npy"], "images of 63 pixels, the model was trained on 64", 1),
        (["--data", "gone.npy"], "gone.npy does not exist; in", 1),
        (["--data", "new.npy", "--split", "valid"], "--split is for the images of a data set", 2),
        (["--data", "new.npy", "--k", "1,2"], "--data takes one --k", 2),
    ],
)
def test_mistakes_are_one_line(
    home: Path, iwae: Command, arguments: list[str], part: str, code: int
) -> None:
    (run,) = (home / "outputs" / "runs").iterdir()
    there = [str(home / word) if word.endswith(".npy") else word for word in arguments]
    done = iwae("eval", run, *there)
    assert done.returncode == code
    assert part in done.stderr
    assert done.stderr.count("\n") == 1
