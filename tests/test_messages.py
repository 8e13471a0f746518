"""What is said to who types something wrong; the mistakes are the tables of mistakes.py."""

import dataclasses
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from conftest import ROOT, settings
from mistakes import FAILED, OTHERS, TRAIN, assert_named, typed
from omegaconf import OmegaConf

from iwae_cli.cli.conf_files import choices, conf_folder
from iwae_cli.cli.main import main
from iwae_cli.core.config import Arch, Config, Then
from iwae_cli.core.progress import counted
from iwae_cli.training import run as training


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run in outputs/runs, a link `runs` to it, an empty folder and a text."""
    top = tmp_path_factory.mktemp("mistakes")
    training.run(settings(top / "outputs", then={"pictures": False}))
    (top / "runs").symlink_to(top / "outputs" / "runs")
    (top / "nothing").mkdir()
    (top / "text").write_text("no model")
    return top


def run_in(folder: Path) -> str:
    (found,) = (folder / "outputs" / "runs").iterdir()
    return found.name


@pytest.mark.parametrize(("line", "parts"), TRAIN.items(), ids=TRAIN)
def test_a_mistake_in_training_is_one_line_that_says_what_to_type(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, parts: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_named(typed(f"train {line}"), parts, code=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("line", "parts"), OTHERS.items(), ids=OTHERS)
def test_a_mistake_in_another_command_is_one_line(
    monkeypatch: pytest.MonkeyPatch, folder: Path, line: str, parts: list[str]
) -> None:
    monkeypatch.chdir(folder)
    run = run_in(folder)
    result = typed(line.replace("{run}", run))
    assert_named(result, [part.replace("{run}", run) for part in parts], code=2)


@pytest.mark.parametrize(("line", "parts"), FAILED.items(), ids=FAILED)
def test_what_cannot_be_done_is_one_line_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, folder: Path, line: str, parts: list[str]
) -> None:
    monkeypatch.chdir(folder)
    result = typed(line)
    said = [text for text in result.stderr.splitlines() if text.startswith("iwae: ")]
    assert (result.exit_code, result.stdout, len(said)) == (1, "", 1), result.stderr
    assert [part for part in parts if part not in said[0]] == []
    assert len(list((folder / "outputs" / "runs").iterdir())) == 1, "nothing is left behind"


def valued_options() -> list[tuple[str, str]]:
    """Return each command with each option that takes a value, and `words` where it takes words."""
    found = []
    for name, command in main.commands.items():
        for param in command.params:
            if isinstance(param, click.Argument):
                found.append((name, "words"))
            elif isinstance(param, click.Option) and not param.is_flag:
                found.append((name, max(param.opts, key=len)))
    return found


@pytest.mark.parametrize(("command", "option"), valued_options())
def test_every_option_and_argument_has_a_mistake_in_the_tables(command: str, option: str) -> None:
    lines = [f"train {line}" for line in TRAIN] + [*OTHERS, *FAILED]
    given = [shlex.split(line)[1:] for line in lines if line.startswith(f"{command} ")]
    if option == "words":
        assert any(words and not words[0].startswith("-") for words in given)
    else:
        assert any(word.partition("=")[0] == option for words in given for word in words)


def every_key() -> list[str]:
    """Return every key of a config, those of each choice of a group with the group before it."""
    top = [field.name for field in dataclasses.fields(Config)]
    inside = [f"then.{field.name}" for field in dataclasses.fields(Then)]
    inside += [f"arch.{field.name}" for field in dataclasses.fields(Arch)]
    groups = ("dataset", "objective", "optimizer", "likelihood", "launcher")
    for group in groups:
        for name in choices(group):
            values = OmegaConf.load(conf_folder() / group / f"{name}.yaml")
            inside += [f"{group}.{key}" for key in map(str, values)]
    return [*top, *sorted(set(inside))]


@pytest.mark.parametrize("key", every_key())
def test_every_key_has_a_mistake_in_the_tables(key: str) -> None:
    words = [word for line in [*TRAIN, *FAILED] for word in shlex.split(line)]
    assert any(word.partition("=")[0] == key for word in words)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("eval --limit 99999 --k 1", "has 400 images: all of them"),
        ("gradients --images 99999 --k 1 --draws 2", "has 1300 images: all of them"),
        ("encode --limit 99999 --k 1", "has 400 images: all of them are taken"),
    ],
)
def test_more_images_than_there_are_is_said(
    monkeypatch: pytest.MonkeyPatch, folder: Path, line: str, said: str
) -> None:
    monkeypatch.chdir(folder)
    result = typed(line)
    assert result.exit_code == 0
    assert said in result.stderr


def test_a_missing_download_is_three_short_lines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IWAE_DATA_MIRROR", "http://127.0.0.1:9")
    monkeypatch.setenv("IWAE_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("iwae_cli.data.download.cache_folder", lambda: tmp_path / "cache")
    result = typed("data mnist")
    assert (result.exit_code, result.stdout) == (1, "")
    lines = result.stderr.splitlines()
    assert lines[0].startswith("downloading ")
    assert len(lines) == 4
    assert max(len(line.replace(str(tmp_path), "")) for line in lines) < 150
    assert "is missing and cannot be downloaded: no connection at 127.0.0.1:9" in lines[1]
    assert "IWAE_DATA_DIR" in lines[2]
    assert "dataset=digits needs no files" in lines[3]


def process(folder: Path, line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command line in a shell, `iwae` standing for the module."""
    iwae = f"{shlex.quote(sys.executable)} -W error -m iwae_cli"
    return subprocess.run(
        ["sh", "-c", line.replace("iwae", iwae)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("iwae data >&-", 0, ""),
        ("iwae runs >&-", 0, ""),
        ("iwae eval --k 1 --limit 2 2>&-", 0, ""),
        ("iwae eval --k 1 --limit 2 2>&- >&- <&-", 0, ""),
        ("iwae runs nowhere 2>&-", 2, ""),
        ("iwae data > /dev/full", 1, "cannot write the output: No space left on device"),
        ("iwae data --json > /dev/full", 1, "cannot write the output: No space left on device"),
        ("iwae eval --k 1 --limit 2 2> /dev/full", 0, ""),
        ("mkdir gone && cd gone && rmdir ../gone && iwae train k=5", 2, "current folder is gone"),
    ],
)
def test_output_that_is_closed_or_full_gives_no_traceback(
    folder: Path, line: str, code: int, said: str
) -> None:
    if "/dev/full" in line and not Path("/dev/full").exists():
        line = "iwae data nowhere"
        code, said = 2, "unknown dataset"
    done = process(folder, line)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert said in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize(("value", "threads"), [("0", None), ("2,1", 2), ("3", 3), ("many", None)])
def test_threads_that_are_no_number_are_all_cores(
    monkeypatch: pytest.MonkeyPatch, value: str, threads: int | None
) -> None:
    from iwae_cli.core.runtime import default_threads

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = default_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert default_threads() == (threads or cores)


@pytest.mark.parametrize("source", ["config.yaml of a run", "--cfg job"])
def test_an_experiment_made_from_a_whole_config_is_the_same_run(
    mine: Path, folder: Path, source: str
) -> None:
    run = folder / "outputs" / "runs" / run_in(folder)
    text = (run / "config.yaml").read_text()
    name = "1st_try"
    if source == "--cfg job":
        again = "dataset=digits optimizer=paper optimizer.stages=1 k=3 arch.name=custom"
        shape = "arch.latents=[4,3] arch.hidden=[[8],[6]]"
        text = typed(f"train --cfg job {again} {shape}").stdout
    (mine / "experiment" / f"{name}.yaml").write_text(text)
    line = f"train --config-dir {mine} --dry-run --json experiment={name}"
    (forecast,) = json.loads(typed(f"{line} outputs={folder / 'outputs'}").stdout)
    assert (forecast["run"], forecast["state"]) == (run.name, "finished")
    (mine / "experiment" / f"{name}.yaml").write_text("# @package _global_\n" + text)
    (forecast,) = json.loads(typed(f"{line} outputs={folder / 'outputs'} k=4").stdout)
    assert "-k4-" in forecast["run"]


def tiny(*more: str) -> str:
    shape = "'arch.latents=[2]' 'arch.hidden=[[4]]' k=2 threads=1 then.pictures=false"
    return " ".join(["train dataset=digits optimizer=fast optimizer.passes=1", shape, *more])


def test_a_finished_run_says_that_there_is_nothing_to_train(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "already finished" not in typed(tiny()).stdout
    assert "already finished; nothing to train" in typed(tiny()).stdout
    assert "1 run, 1 finished; 0:00 left on this machine; " in typed(tiny("--dry-run")).stdout
    both = typed(tiny("--dry-run -m seed=0,1")).stdout
    assert "2 runs, 1 finished; " in both
    assert "one after another" in both


def test_a_second_stage_says_that_it_trains_a_parent_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    stages = "second_stage=iwae_after_vae init_from.optimizer.name=fast"
    said = typed(tiny(stages, "+init_from.optimizer.passes=1")).stderr
    lines = said.splitlines()
    assert lines[0].startswith("first the run that this one starts from: outputs/runs/digits-")
    assert "-vae-k1-" in lines[0]
    assert sum(line.startswith("training ") for line in lines) == 2


def test_data_says_where_its_files_lie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", train=np.eye(9), test=np.eye(9))
    monkeypatch.chdir(tmp_path)
    told = typed("data arrays train=mine.npz --json")
    assert json.loads(told.stdout)["files"] == [
        {"file": "mine.npz", "path": str(tmp_path / "mine.npz")}
    ]
    assert f"file  {tmp_path / 'mine.npz'}" in typed("data arrays train=mine.npz").stdout
    assert json.loads(typed("data digits --json").stdout)["files"] == []


def test_active_units_of_the_first_images_alone(
    monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path
) -> None:
    monkeypatch.chdir(folder)
    (row,) = json.loads(typed(f"active-units --limit 30 --json --output {tmp_path}").stdout)
    assert row["images"] == 30
    assert_named(typed("active-units --limit 0"), ["--limit", "x>=1"], code=2)


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 runs"), (1, "1 run"), (2, "2 runs"), (1000, "1,000 runs")]
)
def test_things_are_counted_in_words(number: int, said: str) -> None:
    assert counted(number, "run") == said
