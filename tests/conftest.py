"""Shared fixtures: tiny models in float64, and real processes of the command line."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from iwae_cli.core import config
from iwae_cli.core.config import Arch, Config
from iwae_cli.models.iwae import IWAE
from iwae_cli.models.likelihoods import DEFAULT
from iwae_cli.models.likelihoods.base import Likelihood
from iwae_cli.runs.checkpoint_file import read_content, write_content
from iwae_cli.training import run as training

ROOT = Path(__file__).resolve().parent.parent
ARCHS = {
    "one": Arch(latents=[3], hidden=[[5, 4]]),
    "two": Arch(latents=[4, 3], hidden=[[6, 5], [4]]),
    "three, no hidden layer in the middle": Arch(latents=[4, 3, 2], hidden=[[5], [], [3]]),
}

# What time limits are multiplied by; they are many times what two quiet cores need
PATIENCE = float(os.environ.get("IWAE_TEST_PATIENCE", "1"))

Command = Callable[..., subprocess.CompletedProcess[str]]


def limit(seconds: float) -> float:
    """Return a time limit for this machine, in seconds."""
    return seconds * PATIENCE


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Tests run side by side, and OpenMP threads that outnumber the cores wait in a spin."""
    torch.set_num_threads(1)


def tiny_model(
    arch: Arch, *, pixels: int = 7, seed: int = 0, likelihood: Likelihood = DEFAULT
) -> IWAE:
    """Return a float64 model with random parameters, biases included."""
    generator = torch.Generator().manual_seed(seed)
    model = IWAE(pixels, arch, likelihood).double()
    for parameter in model.parameters():
        values = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        parameter.data.copy_(0.4 * values)
    return model


def binary_images(count: int, pixels: int = 7, seed: int = 1) -> torch.Tensor:
    """Return random images of zeros and ones, float64, [count, pixels]."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(count, pixels, generator=generator) < 0.4).double()


@pytest.fixture(params=list(ARCHS.values()), ids=list(ARCHS))
def model(request: pytest.FixtureRequest) -> IWAE:
    """A tiny model with one, two and three stochastic layers."""
    return tiny_model(request.param)


@pytest.fixture
def environment() -> dict[str, str]:
    """The environment of a child process: one thread, and this checkout importable."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def start_process(
    folder: Path, environment: dict[str, str], *words: str, **options: Any
) -> subprocess.Popen[str]:
    """Start a command in a folder; its outputs can be read, and nothing is typed into it."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(words, cwd=folder, env=environment, text=True, **(pipes | options))


COMMAND = (sys.executable, "-m", "iwae_cli")


@pytest.fixture
def iwae(tmp_path: Path, environment: dict[str, str]) -> Command:
    """Run the command line as a real process in an empty folder, one thread."""

    def run(*arguments: str | Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "iwae_cli", *map(str, arguments)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=limit(timeout),
            check=False,
        )

    return run


def tiny_run(*overrides: str) -> Sequence[str]:
    """Return the arguments of a training run that takes about a second."""
    return (
        "train",
        "dataset=digits",
        "arch.latents=[3]",
        "arch.hidden=[[8]]",
        "k=2",
        "threads=1",
        "optimizer=paper",
        "optimizer.stages=1",
        *overrides,
    )


def settings(outputs: Path, **changes: Any) -> Config:
    """Return the config of a two-layer run of one pass on the digits."""
    values = {
        "arch": {"latents": [4, 3], "hidden": [[8], [6]]},
        "dataset": {"name": "digits"},
        "objective": {"name": "iwae"},
        "optimizer": {"name": "paper", "stages": 1},
        "k": 3,
        "threads": 1,
        "outputs": str(outputs),
    }
    return config.parse({**values, **changes})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a two-layer run of one pass."""
    return training.run(settings(tmp_path_factory.mktemp("outputs"))).folder


@contextmanager
def changed_checkpoint(path: Path) -> Iterator[dict[str, Any]]:
    """Give the content of a checkpoint, a file or a run's, and write what the block made of it."""
    file = path / "checkpoint.pt" if path.is_dir() else path
    content = read_content(file)
    yield content
    write_content(file, content)


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    """A copy of that folder without results."""
    folder = tmp_path / trained.name
    folder.mkdir()
    for name in ("checkpoint.pt", "metrics.csv", "config.yaml"):
        (folder / name).write_bytes((trained / name).read_bytes())
    return folder


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs of five short runs, for reports; one worker makes them for all."""
    from run_folders import trained_runs  # which imports this file

    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    made = shared / "five-runs"
    with FileLock(shared / "five-runs.lock"):
        if not made.exists():
            trained_runs(tmp_path_factory.mktemp("runs")).rename(made)
    return made


@pytest.fixture
def outputs(originals: Path, tmp_path: Path) -> Path:
    """A copy of them that a test may change."""
    return Path(shutil.copytree(originals, tmp_path / "outputs"))


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of YAML files of one's own, in an empty current folder."""
    for group in ("arch", "experiment"):
        (tmp_path / "mine" / group).mkdir(parents=True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "mine"
