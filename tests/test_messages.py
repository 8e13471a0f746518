"""What is said to who types something wrong: a table of mistakes and what the line names."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import ROOT, settings

from iwae_cli.cli.launch import plan
from iwae_cli.cli.main import main
from iwae_cli.core.progress import counted
from iwae_cli.training import run as training

# What is typed, and what the line names. Exit code 2 and nothing on stdout, nothing trained.
TRAIN = {
    # keys that are not there
    "optimizer=paper optimizer.passes=3": [
        "optimizer=paper has no 'passes' (constant, fast and kfac have)",
        "its keys are all_rows, batch_size, beta1, beta2, eps, learning_rate, shuffle, stages",
    ],
    "objective=ciwae objective.alpha=1": ["no 'alpha'", "its keys are beta, beta_end"],
    "objective=iwae objective.beta=1": ["(ciwae has)", "it has no keys"],
    "second_stage=iwae_after_vae init_from.seed=1": ["write +init_from.seed=1"],
    "second_stage=iwae_after_vae init_from.sede=1": ["did you mean '+init_from.seed'"],
    "init_from.k=5": ["second_stage=iwae_after_vae or vae_after_iwae"],
    "K=5": ["did you mean 'k'?"],
    "SEED=5": ["did you mean 'seed'?"],
    "epochs=5": ["did you mean 'optimizer.passes'?"],
    "lr=1": ["did you mean 'optimizer.learning_rate'?"],
    "optimizer.lr=1": ["did you mean 'optimizer.learning_rate'?", "its keys are"],
    "model=two_layer": ["did you mean 'arch'?"],
    "then.evl=[5]": ["did you mean 'then.eval'?", "active_units"],
    "dataset=digits dataset.batch=9": ["dataset=digits has no 'batch'", "test, valid"],
    "arch.nam=x": ["did you mean 'arch.name'?"],
    "hydra.sweeper.params_=1": ["'hydra.sweeper.params_'", "--cfg hydra"],
    "+seed=1": ["write seed=VALUE without the '+'"],
    # how it is typed
    "'k= 5'": ["no spaces around '='", "k=5"],
    "k= 5": ["no spaces around '='", "k=5"],
    "k =5": ["no spaces around '='", "k=5"],
    "k = 5": ["no spaces around '='", "k=5"],
    "'outputs= a(b'": ["no spaces around '='", '"outputs=a(b"'],
    "--k 5": ["keys have no dashes, write k=5"],
    "--k=5": ["keys have no dashes, write k=5"],
    "-k 5": ["keys have no dashes, write k=5"],
    "--optimizer.passes 5": ["write optimizer.passes=5"],
    "k": ["write k=VALUE"],
    "5": ["key=value"],
    "k:5": ["write k=5"],
    "k==5": ["write k=5"],
    "objective/vae": ["write objective=vae"],
    "mine.yaml": ["--config-dir=FOLDER", "experiment=NAME"],
    "k=5,": ["-m k=5"],
    "k=1,5": ["'k=1,5'", "-m", "key=[a,b]"],
    "then.eval=[5": ["a bracket is open"],
    "'arch.init=a(b'": ["\"arch.init='a(b'\""],
    "'k=${nowhere}'": ["k refers to ${nowhere}"],
    # what is not the user's to set
    "~k": ["'~k' is refused", "no key can be taken away"],
    "~optimizer": ["'~optimizer' is refused"],
    "hydra.run.dir=x": ["'hydra.run.dir' is refused", "named by iwae", "outputs="],
    "hydra.sweep.dir=x": ["'hydra.sweep.dir' is refused", "outputs="],
    "hydra.sweep.subdir=x": ["'hydra.sweep.subdir' is refused"],
    "hydra.job.chdir=true": ["'hydra.job.chdir' is refused"],
    "++hydra.job.chdir=true": ["'hydra.job.chdir' is refused"],
    "hydra.output_subdir=x": ["'hydra.output_subdir' is refused"],
    "hydra/hydra_logging=default": ["'hydra/hydra_logging' is refused"],
    "hydra.searchpath=[x]": ["'hydra.searchpath' is refused", "--config-dir"],
    "objective.name=vae": ["write objective=vae"],
    "optimizer.name=fast": ["write optimizer=fast"],
    "dataset.name=digits": ["write dataset=digits"],
    # values, one for each key of conf/config.yaml
    "k=[1,5]": ["to sweep: -m k=1,5"],
    "k=1e3": ["write k=1000"],
    "k=": ["k must be a whole number"],
    "k=null": ["k must be a whole number"],
    "seed=-1": ["seed must be in [0, 2^63)"],
    "seed=1.5": ["seed must be a whole number"],
    "arch=1": ["unknown arch '1': known: one_layer"],
    "objective=nan": ["unknown objective 'nan'"],
    "optimizer=null": ["unknown optimizer 'null'"],
    "log=[1,none]": ["unknown log '1': known: mlflow"],
    "-m dataset=digits,inf": ["unknown dataset 'inf'"],
    "hydra.mode=nan": ["write -m"],
    "precision=fp16": ["did you mean 'bfloat16'?"],
    "device=gpu": ["auto, cpu, cuda, mps"],
    "threads=0": ["threads must be at least 1"],
    "compile=maybe": ["compile must be true or false"],
    "outputs=": ["write outputs=PATH"],
    "checkpoint_seconds=-1": ["checkpoint_seconds must be 0 or more"],
    "validate_passes=-1": ["validate_passes must be 0 (never) or more"],
    "then=5000": ["then: has the keys eval"],
    "then.eval=5000": ["such as [5], got 5000"],
    "then.active_units=3.5": ["active_units must be true or false"],
    "init_from=5": ["init_from must be null or the keys that differ"],
    "arch=[50]": ["arch takes a name", "arch.KEY=VALUE"],
    "arch.latents=50": ["a list of whole numbers such as [5]"],
    "arch.latents=[50,20]": ["one list of widths for each of the 2"],
    "arch.hidden=[200,200]": ["such as [[200,200]]"],
    "arch.init=foo": ["known: glorot, original_code"],
    "arch.output_bias=7.5": ["output_bias must be true or false"],
    "arch.name=../../x": ["letters, digits and ._- only", "'../../x'"],
    "'arch.name=a b'": ["letters, digits and ._- only"],
    "arch.name=": ["write arch.name=NAME"],
    "dataset=MNIST": ["did you mean 'mnist'?"],
    "dataset=digits dataset.valid=-1": ["valid must be"],
    "dataset=digits dataset.test=99999": ["below 1797"],
    "dataset=arrays dataset.train=x.npy dataset.label=a/b": ["letters, digits and ._- only"],
    "dataset=arrays dataset.train=x.npy dataset.test=1.5": ["a share in (0, 1)"],
    "dataset=arrays dataset.train=x.npy dataset.image_shape=[3]": ["[height, width]"],
    "dataset=arrays dataset.train=x.npy dataset.split_seed=a": ["split_seed must be"],
    "objective=IWAE": ["did you mean 'iwae'?"],
    "objective=jvi objective.order=3": ["order must be 1 or 2"],
    "objective=miwae objective.groups=3": ["groups=3 does not divide k=50"],
    "objective=vr objective.alpha=abc": ["alpha must be a number"],
    "objective=ciwae objective.beta=2": ["beta and beta_end must be in [0, 1]"],
    "objective=tvo objective.partitions=0": ["partitions must be at least 1"],
    "optimizer.passes=0": ["passes must be at least 1"],
    "optimizer.batch_size=0": ["batch_size must be at least 1"],
    "optimizer.learning_rate=nan": ["learning_rate must be positive and finite"],
    "optimizer.end_rate=2": ["end_rate must be in [0, 1]"],
    "optimizer.encoder_rate=0": ["encoder_rate must be above 0"],
    "optimizer.adam_rate=0": ["adam_rate must be above 0"],
    "optimizer.momentum=1": ["momentum must be in [0, 1)"],
    "optimizer.damping=0": ["damping must be in"],
    "optimizer.decay=1": ["decay must be in [0, 1)"],
    "optimizer.k_growth=[5]": ["a positive share for each entry of k_growth"],
    "optimizer.k_growth=[5,5]": ["k_growth must rise"],
    "optimizer.shuffle=maybe": ["shuffle must be true or false"],
    "optimizer=paper optimizer.stages=0": ["stages must be in 1..12"],
    "optimizer=fast optimizer.beta1=1": ["beta1 and beta2 must be in [0, 1)"],
    "optimizer=fast optimizer.eps=0": ["eps must be positive"],
    "experiment=table4": ["did you mean 'table3'?"],
    "second_stage=foo": ["iwae_after_vae, vae_after_iwae"],
    "profile=quik": ["did you mean 'quick'?"],
    "profile=quick profile=fast": ["only one profile"],
    # options
    "--dryrun": ["'--dry-run'?"],
    "--cfg foo": ["'job', 'hydra', 'all'"],
    "--info foo": ["'config', 'defaults'"],
    "--config-dir nowhere": ["'nowhere' does not exist"],
    "--resolve": ["--resolve needs --cfg"],
}
# The same for the other commands, beside a run; {run} is its name
OTHERS = {
    "k=5": ["'iwae train k=5'"],
    "evaluate": ["Did you mean 'eval'?"],
    "eval k=5": ["options have dashes, write --k 5"],
    "eval {run} split=valid": ["write --split valid"],
    "eval --checkpoint runs": ["'runs' holds runs: name one of runs/", "(newest first)"],
    "eval --checkpoint outputs": ["name one of outputs/runs/{run}"],
    "eval nothing": ["'nothing' has no checkpoint.pt"],
    "eval nowhere": ["there is no run 'nowhere'", "iwae runs"],
    "eval seed0": ["did you mean '{run}'?"],
    "eval ''": ["there is no run '.'"],
    "eval --k 1e3": ["'1e3' is not a list of whole numbers"],
    "eval --limit 0": ["--limit", "x>=1"],
    "eval --split dev": ["'train', 'valid', 'test'"],
    "eval --estimator foo": ["unknown estimator 'foo'", "jvi, vr"],
    "eval --estimator l_k": ["did you mean 'L_k'?"],
    "eval --estimator jvi,vr": ["one estimator at a time"],
    "eval --estimator jvi,1": ["key=value"],
    "eval --estimator jvi,ordr=1": ["did you mean 'order'?"],
    "eval --estimator vr,alpha=abc": ["alpha must be a number"],
    "eval --estimator jvi --k 1": ["needs k in 2..5000"],
    "eval --precision fp16": ["'float32', 'bfloat16', 'auto'"],
    "eval --seed=-1": ["--seed", "x>=0"],
    "eval --device gpu": ["'auto', 'cpu', 'cuda', 'mps'"],
    "eval --output text": ["'text' is a file"],
    "eval --data x.npy --split valid": ["--split is for the images of a data set"],
    "eval --jsn": ["'--json'?"],
    "active-units --threshold=-1": ["--threshold", "x>=0"],
    "active-units --split dev": ["'train', 'valid', 'test'"],
    "active-units --definition mine": ["'paper', 'original-code'"],
    "active-units --samples 0": ["--samples"],
    "active-units --seed x": ["--seed"],
    "active-units --device gpu": ["'auto', 'cpu'"],
    "active-units k=5": ["there is no run 'k=5'"],
    "data MNIST": ["did you mean 'mnist'?"],
    "data digits valid": ["key=value"],
    "data digits tset=3": ["did you mean 'test'?"],
    "data digits valid=x": ["valid must be a whole number"],
    "encode --k 0": ["--k", "x>=1"],
    "encode --samples 0": ["--samples"],
    "encode --limit 0": ["--limit"],
    "encode --split dev": ["'train', 'valid', 'test'"],
    "encode --seed x": ["--seed"],
    "encode --output x.png": ["does not end in .npz"],
    "encode --device gpu": ["'auto', 'cpu'"],
    "gradients --objective dreg,stl": ["--objective dreg --objective stl"],
    "gradients --objective foo": ["known: ciwae"],
    "gradients --objective vr,alph=1": ["did you mean 'alpha'?"],
    "gradients --objective miwae,groups=3 --k 4": ["groups=3 does not divide k=4"],
    "gradients --k 0": ["'0' is not a list"],
    "gradients --draws 1": ["--draws", "x>=2"],
    "gradients --images 0": ["--images"],
    "gradients --split dev": ["'train', 'valid', 'test'"],
    "gradients --seed x": ["--seed"],
    "gradients --device gpu": ["'auto', 'cpu'"],
    "sample --count 0": ["--count"],
    "sample --seed=-1": ["--seed"],
    "sample --output x.jpg": ["does not end in .png"],
    "sample --output nothing": ["'nothing' is a directory"],
    "sample --device gpu": ["'auto', 'cpu'"],
    "export --output x.txt": ["does not end in .pt"],
    "report nowhere": ["there is no 'nowhere'", "iwae train"],
    "report --output text": ["'text' is a file"],
    "runs nowhere": ["'nowhere'", "iwae train"],
    "runs text": ["'text' is a file"],
}
# Mistakes whose exit code is 1: the command line is right, what it names is not
FAILED = {
    "eval text": ["text is ", "no checkpoint of iwae"],
    "eval --data nowhere.npy": ["nowhere.npy does not exist"],
    "encode --data nowhere.npy": ["nowhere.npy does not exist"],
    "data arrays train=nowhere.npy": ["nowhere.npy does not exist"],
    "report nothing": ["no run in or below nothing"],
    "runs nothing": ["no run in or below nothing"],
    "train dataset=digits device=cpu k=10000000": [
        "not enough memory for k=10000000 with batch_size=52: lower k or optimizer.batch_size"
    ],
    "train dataset=arrays dataset.train=nowhere.npy": ["nowhere.npy does not exist"],
}


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


def typed(line: str) -> Result:
    return CliRunner().invoke(main, shlex.split(line), prog_name="iwae")


def assert_named(result: Result, parts: list[str], *, code: int) -> None:
    lines = result.stderr.splitlines()
    assert (result.exit_code, result.stdout) == (code, ""), result.stderr
    ours = [line for line in lines if not line.startswith("newest run: ")]
    assert len(ours) == 1, result.stderr
    assert ours[0].startswith("iwae: ")
    assert len(ours[0]) < 330
    assert [part for part in parts if part not in ours[0]] == [], ours[0]


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


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of YAML files of one's own, in an empty current folder."""
    for group in ("arch", "experiment"):
        (tmp_path / "mine" / group).mkdir(parents=True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "mine"


# Nine to the eighth texts in a few hundred bytes
BOMB = "every: &a [" + 9 * "x, " + "]\n"
BOMB += "".join(f"{name}: &{name} [" + 9 * f"*{chr(ord(name) - 1)}, " + "]\n" for name in "bcdefgh")


def test_own_yaml_of_a_name_that_exists_here_too_counts(mine: Path) -> None:
    (mine / "arch" / "one_layer.yaml").write_text("name: one_layer\nlatents: [7]\nhidden: [[9]]\n")
    assert "latents:\n  - 7\n" in typed(f"train --config-dir {mine} --cfg job").stdout
    dry = f"train --config-dir {mine} --dry-run --json dataset=digits optimizer.passes=1"
    assert typed(dry).stdout != typed(dry.replace(f"--config-dir {mine}", "")).stdout
    assert "latents:\n- 50\n" not in typed(f"train --config-dir {mine} --cfg job").stdout


@pytest.mark.parametrize(
    ("file", "text", "line", "parts"),
    [
        ("arch/bad.yaml", "name: [x\n", "arch=bad", ["bad.yaml", "line 2"]),
        ("experiment/bad.yaml", "a: b: c\n", "experiment=bad", ["bad.yaml", "line 1"]),
        ("profile/bad.yaml", "every: [\n", "profile=bad", ["bad.yaml", "line 2"]),
        ("config.yaml", "k: 3\n", "k=5", ["experiment/NAME.yaml", "experiment=NAME"]),
        ("experiment/bad.yaml", "defaults: 3\n", "experiment=bad", ["must be a list"]),
        ("experiment/bad.yaml", "defaults: [1]\n", "experiment=bad", ["type in defaults"]),
        ("experiment/bad.yaml", "# @package a b\n", "experiment=bad", ["@package a b"]),
        ("experiment/bad.yaml", "# @package _global_\nlauncher: 5\n", "experiment=bad", ["joblib"]),
        ("experiment/bad.yaml", "5\n", "experiment=bad", ["bad.yaml: Invalid loaded object"]),
        ("experiment/bad.yaml", "defaults: [bad]\n", "experiment=bad", ["name the file itself"]),
        ("experiment/bad.yaml", "a: &a [*a]\n", "experiment=bad", ["bad.yaml", "too deeply"]),
        ("experiment/bad.yaml", BOMB, "experiment=bad", ["bad.yaml is too large", "alias"]),
        ("profile/bad.yaml", BOMB, "profile=bad", ["bad.yaml is too large"]),
        ("profile/bad.yaml", "every: 3\nsweeps: 4\n", "profile=bad", ["a list of texts"]),
        ("arch/small.yaml", "latents: [3]\n", "arch=smal", ["did you mean 'small'?"]),
        ("arch/small.yaml", "latents: [3]\n", "arch=small arch.nam=1", ["its keys are"]),
    ],
)
def test_a_fault_in_own_yaml_is_one_line(
    mine: Path, file: str, text: str, line: str, parts: list[str]
) -> None:
    (mine / file).parent.mkdir(exist_ok=True)
    (mine / file).write_text(text)
    assert_named(typed(f"train --config-dir {mine} {line}"), parts, code=2)


def test_own_yaml_that_is_no_utf_8_is_named(mine: Path) -> None:
    (mine / "experiment" / "bad.yaml").write_bytes(b"k: 3 # \xfc\n")
    line = f"train --config-dir {mine} experiment=bad"
    assert_named(typed(line), ["bad.yaml", "utf-8"], code=2)


@pytest.mark.parametrize("name", ["nan", "1", "1e3", "true", "2024_11_03", ".5", "null"])
def test_a_name_that_looks_like_a_number_is_a_name(mine: Path, name: str) -> None:
    parts = [f"unknown experiment '{name}'", "table1"]
    assert_named(typed(f"train experiment={name}"), parts, code=2)
    (mine / "experiment" / f"{name}.yaml").write_text("# @package _global_\nk: 17\n")
    assert "k: 17\n" in typed(f"train --config-dir {mine} experiment={name} --cfg job").stdout


PATHS = [
    ("2024_11_03", "2024_11_03"),
    ("0.10", "0.10"),
    ("1e3", "1e3"),
    ("null_", "null_"),
    ("true", "true"),
    ("a=b", "a=b"),
    ("a(b", "a(b"),
    ("a[b]{c}", "a[b]{c}"),
    ("a#b", "a#b"),
    ("ümlaut", "ümlaut"),
    ("a b", "a b"),
    ("a'b", "a'b"),
    (r"a\b", r"a\b"),
    (r"a\\b\'c\\", r"a\\b\'c\\"),
    ("a:b@c%d", "a:b@c%d"),
    ("'a,b'", "a,b"),
    ("~/runs", str(Path.home() / "runs")),
    ("../x", "../x"),
    ("/x/y", "/x/y"),
]


@pytest.mark.parametrize(("typed_value", "path"), PATHS)
@pytest.mark.parametrize("multirun", [False, True])
def test_outputs_is_a_text_and_absolute_from_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, typed_value: str, path: str, multirun: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    (point,) = plan([f"outputs={typed_value}", "dataset=digits"], multirun=multirun).points
    assert point.config.outputs == str(tmp_path / path)


def test_data_files_are_texts_and_shares_are_numbers() -> None:
    given = ["dataset=arrays", "dataset.train=a=b.npy", "dataset.label=1e3", "arch.name=0.10"]
    (point,) = plan([*given, "dataset.test=0.25", "dataset.valid=30"], multirun=False).points
    data = point.config.dataset
    assert (data["train"], data["test"], data["valid"]) == ("a=b.npy", 0.25, 30)
    assert (data["label"], point.config.arch.name) == ("1e3", "0.10")
    files = ["dataset=arrays", "dataset.train=a.npy,b.npy"]
    swept = [point.config.dataset["train"] for point in plan(files, multirun=True).points]
    assert swept == ["a.npy", "b.npy"]


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


def test_a_number_for_a_text_in_own_yaml_is_refused(mine: Path) -> None:
    (mine / "experiment" / "x.yaml").write_text("outputs: 2024_11_03\n")
    parts = ["outputs must be a text", "20241103", "quote it"]
    assert_named(typed(f"train --config-dir {mine} experiment=x"), parts, code=2)


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
