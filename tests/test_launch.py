"""Launching through Hydra: overrides, sweeps, errors, and no file left behind.

What starts a run is tested in real processes; what is refused before that, in this one.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from iwae_cli.cli.launchers import base
from iwae_cli.cli.main import main

ROOT = Path(__file__).parents[1]
TINY = (
    "dataset=digits",
    "dataset.test=1500",
    "dataset.valid=97",
    "optimizer=paper",
    "optimizer.stages=1",
    "arch.hidden=[[8,8]]",
    "arch.latents=[2]",
    "k=2",
    "device=cpu",
    "threads=1",
)
# Stands in for `training.run.run`, so that a sweep's fate can be chosen by k; the rest is real.
FAKE = """
import dataclasses, os, signal, sys
from iwae_cli.cli.main import main
from iwae_cli.core.errors import NonFiniteError, Stopped
from iwae_cli.training import run as training

class Result:
    def __init__(self, k): self.k = k
    def as_dict(self):
        return {"folder": f"runs/{self.k}", "passes": 1, "bound": -1.5, "valid_bound": None}

def run(config, wait=False):
    print(f"running k={config.k}", file=sys.stderr)
    if config.k == 13:
        raise NonFiniteError("the bound is nan\\nat step 7")
    if config.k == 15:
        raise Stopped("stopped by SIGTERM", signal_number=15)
    if config.k == 16:
        os.kill(os.getpid(), 2)
    if config.k == 17:
        raise ZeroDivisionError
    return Result(config.k)

training.run = run
main(sys.argv[1:], prog_name="iwae")
"""


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def iwae(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return python(folder, "-m", "iwae_cli", *arguments)


def fake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    folders = f"import tempfile; tempfile.tempdir = {str(folder)!r}\n"
    return python(folder, "-c", folders + FAKE, "train", "dataset=digits", *arguments)


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["kk=5"], ["'kk'", "did you mean 'k'"]),
        (["sede=1"], ["did you mean 'seed'"]),
        (["passes=3"], ["did you mean 'optimizer.passes'"]),
        (["optimizer=fast", "optimizer.pases=3"], ["did you mean 'optimizer.passes'"]),
        (["arhc=two_layer"], ["did you mean 'arch'"]),
        (["+kk=5"], ["'kk'", "did you mean 'k'"]),
        (["k=abc"], ["k must be a whole number", "'abc'"]),
        (["k=0"], ["k must be at least 1", "got 0"]),
        (["k=-1"], ["k must be at least 1", "got -1"]),
        (["arch=one_leyer"], ["'one_leyer'", "did you mean 'one_layer'", "two_layer"]),
        (["objective=foo"], ["'foo'", "iwae", "vae"]),
        (["dataset=foo"], ["arrays", "digits", "mnist", "mnist_fixed", "omniglot"]),
        (["optimizer=foo"], ["fast", "original_code", "paper"]),
        (["experiment=foo"], ["original_code"]),
        (["dataset=arrays"], ["dataset.train must be given"]),
        (["k=[1"], ["cannot read 'k=[1'"]),
        (["k=1,5"], ["'k=1,5'", "-m"]),
        (["-m", "k=1,5", "hydra/launcher=joblib"], ["write launcher=joblib"]),
        (["--cfg", "job", "hydra/launcher=joblib"], ["write launcher=joblib"]),
        (["-m", "k=1,5", "hydra/launcher=basic"], ["write launcher=NAME", "local", "joblib"]),
        (["-m", "k=1,5", "hydra.launcher.n_jobs=2"], ["write launcher.n_jobs=2"]),
        (["-m", "k=1,5", "launcher=local,joblib"], ["launcher cannot be swept over"]),
        (["launcher=foo"], ["'foo'", "joblib", "local"]),
        (["launcher=joblib", "launcher.n_jobs=0"], ["n_jobs must be -1", "got 0"]),
        (["-m", "k=interval(1,5)"], ["'k=interval(1,5)' has no end"]),
        (["-m", "k=range(5,5)"], ["'k=range(5,5)' has no values"]),
        (["k=${nowhere}"], ["nowhere"]),
        (["--", "-x"], ["'-x'"]),
        (["-m", "k=1,0,5,-1"], ["2 of 4", "k=0]", "got 0", "k=-1]", "none was started"]),
        (["-m", "arch=one_layer,foo"], ["'foo'", "two_layer"]),
        (["-m", "kk=1,2"], ["'kk'", "did you mean 'k'"]),
        (["-m", "dataset=digits,arrays"], ["dataset=arrays]", "dataset.train must be given"]),
    ],
)
def test_a_bad_override_is_one_line_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str], parts: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    done = CliRunner().invoke(main, ["train", *overrides], prog_name="iwae")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("iwae: ")
    assert done.stderr.count("\n") == 1
    assert [part for part in parts if part not in done.stderr] == []
    assert list(tmp_path.iterdir()) == []


def test_cfg_prints_the_composed_configuration_and_runs_nothing(tmp_path: Path) -> None:
    done = iwae(tmp_path, "train", "--cfg", "job", "optimizer=fast", "k=7")
    assert done.returncode == 0
    assert "k: 7\n" in done.stdout
    assert "name: fast\n" in done.stdout
    assert "arch" in iwae(tmp_path, "train", "--info", "defaults").stdout
    assert list(tmp_path.iterdir()) == []


def test_config_dir_adds_the_users_own_files(tmp_path: Path) -> None:
    mine, cwd = tmp_path / "mine" / "arch", tmp_path / "cwd"
    mine.mkdir(parents=True)
    cwd.mkdir()
    (mine / "small.yaml").write_text("name: small\nlatents: [2]\nhidden: [[3]]\n")
    flag = f"--config-dir={mine.parent}"
    done = iwae(cwd, "train", flag, "--cfg", "job", "arch=small")
    assert "name: small" in done.stdout


def test_a_failed_run_of_a_sweep_is_reported_at_the_end_and_the_others_go_on(
    tmp_path: Path,
) -> None:
    done = fake(tmp_path, "-m", "k=13,5", "--json")
    assert done.returncode == 1
    assert [run["folder"] for run in json.loads(done.stdout)] == ["runs/5"]
    last = done.stderr.splitlines()[-1]
    assert last.startswith("iwae: 1 of 2 runs of the sweep failed: [k=13]")
    assert last.endswith("the bound is nan at step 7")
    (sweep,) = tmp_path.glob("outputs/sweeps/*")
    assert [json.loads((sweep / "jobs" / f"{i}.json").read_text())["state"] for i in (0, 1)] == [
        "failed",
        "finished",
    ]
    assert "the bound is nan at step 7" in (sweep / "jobs" / "0.log").read_text()


@pytest.mark.parametrize(("k", "code"), [(15, 128 + signal.SIGTERM), (16, 128 + signal.SIGINT)])
def test_a_signal_ends_the_sweep(tmp_path: Path, k: int, code: int) -> None:
    done = fake(tmp_path, "-m", f"k=2,{k},3")
    assert (done.returncode, done.stdout) == (code, "")
    assert "running k=2" in done.stderr
    assert "running k=3" not in done.stderr
    assert "Traceback" not in done.stderr
    assert "1 of 3 runs of the sweep are finished" in done.stderr
    assert "run 2 of 3" in done.stderr


def test_a_failed_single_run_is_one_line(tmp_path: Path) -> None:
    done = fake(tmp_path, "k=13")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[1:] == ["iwae: the bound is nan at step 7"]


def test_a_bug_keeps_its_traceback_and_the_other_runs_of_a_sweep_go_on(tmp_path: Path) -> None:
    done = fake(tmp_path, "k=17")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1] == "ZeroDivisionError"
    done = fake(tmp_path, "-m", "k=17,5")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "running k=5" in done.stderr
    assert "[k=17] ZeroDivisionError; traceback in" in done.stderr.splitlines()[-1]
    (log,) = tmp_path.glob("outputs/sweeps/*/jobs/0.log")
    assert "Traceback" in log.read_text()


@pytest.mark.long
def test_a_run_and_a_sweep_leave_only_their_own_folders(tmp_path: Path) -> None:
    done = iwae(tmp_path, "train", *TINY, "--json")
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]
    assert Path(tmp_path, run["folder"]).parent == tmp_path / "outputs" / "runs"

    done = iwae(tmp_path, "train", "-m", *TINY, "objective=iwae,vae")
    assert done.returncode == 0, done.stderr
    assert "1 of 2 was finished before" in done.stdout
    assert done.stdout.splitlines()[-1] == "Next: iwae report"
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]
    runs: list[Any] = [path for path in (tmp_path / "outputs" / "runs").iterdir() if path.is_dir()]
    assert len(runs) == 2


def test_a_launcher_that_is_not_installed_names_the_extra_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(base, "find_spec", lambda name: None)
    words = ["train", "-m", "dataset=digits", "k=1,2", "launcher=joblib"]
    done = CliRunner().invoke(main, words, prog_name="iwae")
    assert done.exit_code == 2
    hint = "iwae: launcher=joblib is not installed: pip install 'iwae-cli[joblib]'"
    assert done.stderr.splitlines()[-1] == hint
    assert list(tmp_path.iterdir()) == []
