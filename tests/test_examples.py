"""Every example of every help page, typed as it stands."""

import dataclasses
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import settings

from iwae_cli.cli.main import main
from iwae_cli.core.config import Config
from iwae_cli.data import registry
from iwae_cli.data.digits import Digits
from iwae_cli.training import run as training

PAGES = [main.help or "", *(command.help or "" for command in main.commands.values())]
LINES = [line.strip() for page in PAGES for line in page.splitlines()]
EXAMPLES = sorted({re.split(r"   +", line)[0] for line in LINES if line.startswith("iwae ")})
# A run of the examples with their real data sets and passes takes minutes to days
TRAINING = [line for line in EXAMPLES if line.startswith("iwae train")]
QUICK = [line for line in EXAMPLES if line not in TRAINING]

SEVERAL = ("-m", "--dry-run", "profile=fast")


def invoke(*words: str) -> Result:
    return CliRunner().invoke(main, words, prog_name="iwae")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs and files that the examples name."""
    top = tmp_path_factory.mktemp("examples")
    runs = [training.run(settings(top / "outputs", seed=seed)).folder for seed in (0, 1)]
    for name, run in zip(("RUN_A", "RUN_B"), runs, strict=True):
        (top / name).symlink_to(run)
    (top / "RUN").symlink_to(runs[0])
    shutil.copytree(top / "outputs" / "runs", top / "outputs" / "paper" / "runs")
    images = np.random.default_rng(0).random((20, 64))
    np.save(top / "new.npy", images)
    np.savez(top / "mine.npz", train=images, test=images)
    return top


@pytest.fixture(autouse=True)
def _here(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("IWAE_DATA_DIR", "")
    monkeypatch.setattr("iwae_cli.data.download.cache_folder", lambda: tmp_path / "cache")


def test_there_are_examples_of_every_command() -> None:
    assert {line.split()[1] for line in EXAMPLES} == set(main.commands)


@pytest.mark.parametrize("line", QUICK)
def test_an_example_runs(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "mnist" in line:
        monkeypatch.setattr(
            registry, "SOURCES", {**registry.SOURCES, "mnist": Digits}
        )  # which has to be downloaded
    words = shlex.split(line.replace("/tmp", str(tmp_path)))
    for name in ("monday", "tuesday"):  # of other machines
        if f"{name}/runs.csv" in words:
            made = invoke("report", "outputs", "--output", name)
            assert made.exit_code == 0, made.stderr
    fewer = ["--draws", "5"] if "gradients" in words else []
    fewer += ["--limit", "5"] if "ais" in line else []
    result = invoke(*words[1:], *fewer)
    if words[1] == "cancel":  # a sweep on a cluster, of which there is none here
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"there is no sweep '{words[2]}'" in result.stderr
        return
    assert result.exit_code == 0, result.stderr
    assert result.stdout


@pytest.mark.parametrize(
    "line", [line for line in TRAINING if not set(SEVERAL) & set(line.split())]
)
def test_an_example_of_training_trains(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One pass over the digits, whatever the data; that all of them compose is tested elsewhere."""
    train = training.run

    def short(config: Config, **options: Any) -> training.RunResult:
        own = config.dataset["name"] == "arrays"
        return train(
            dataclasses.replace(
                config,
                dataset=config.dataset if own else {"name": "digits"},
                optimizer={"name": "fast", "passes": 1},
            ),
            **options,
        )

    monkeypatch.setattr(training, "run", short)
    result = invoke(*shlex.split(line)[1:])
    assert result.exit_code == 0, result.stderr
    assert result.stdout
