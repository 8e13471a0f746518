"""The commands: help, version, bad input, completion, and what a command line imports."""

import json
import math
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

from iwae_cli import __version__
from iwae_cli.cli.evaluate import EVALUATED, SPARE
from iwae_cli.cli.main import main
from iwae_cli.cli.output import print_table, shown_value
from iwae_cli.core.errors import UsageError
from iwae_cli.runs import folder

COMMANDS = sorted(main.commands)
HEAVY = ("torch", "hydra", "omegaconf", "pandas", "numpy", "matplotlib", "rich")
ROW = {"run": "runs/[a]", "k": 5, "split": "test", "images": 9, "nll": 88.5, "bias": math.nan}
ROW |= {"likelihood": "bernoulli"}


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="iwae")


def assert_one_line(result: Result, *parts: str, code: int = 2) -> None:
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.startswith("iwae: ")
    assert result.stderr.count("\n") == 1
    for part in parts:
        assert part in result.stderr


def completed(line: str) -> list[str]:
    words = line.split(" ")
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    result = CliRunner().invoke(
        main, [], prog_name="iwae", env={"_IWAE_COMPLETE": "bash_complete", **asked}
    )
    return [text.removeprefix("plain,") for text in result.stdout.split()]


@pytest.fixture
def evaluations(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []

    def evaluate(path: Path, **options: Any) -> list[dict[str, Any]]:
        calls.append({"path": path, **options})
        return [{**ROW, "k": k} for k in options["k"]]

    monkeypatch.setattr("iwae_cli.evaluation.evaluate.evaluate", evaluate)
    return calls


def test_the_commands_are_those_of_the_design() -> None:
    assert {"train", "eval", "active-units", "data"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented_with_examples(name: str) -> None:
    command = main.commands[name]
    page = invoke(name, "--help").stdout
    assert "Examples:" in page
    assert re.search(rf"^ +iwae {name}", page, re.MULTILINE), "each example on its own line"
    assert "\\b" not in page
    assert not command.get_short_help_str(limit=58).endswith("..."), "too long for `iwae --help`"
    options = [param for param in command.params if isinstance(param, click.Option)]
    assert [option.name for option in options if not option.help] == []
    assert "--json" in page


def test_help_without_arguments_lists_every_command() -> None:
    page = invoke().stdout
    assert all(name in page for name in [*COMMANDS, "Examples:"])
    assert page == invoke("--help").stdout


def test_version_is_printed() -> None:
    assert invoke("--version").stdout.strip() == f"iwae, version {__version__}"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from iwae_cli.cli.main import main; main(['--help'], standalone_mode=False); "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["trian"], ["No such command 'trian'", "iwae --help"]),
        (["--nonsense"], ["--nonsense"]),
        (["train", "--nonsense"], ["--nonsense", "iwae train --help"]),
        (["train", "--resolve"], ["--cfg"]),
        (["train", "-m", "--cfg", "job"], ["only one"]),
        (["train", "--config-dir", "nowhere"], ["nowhere"]),
        (["eval", "--k", "0"], ["'0'", "at least 1"]),
        (["eval", "--k", "-1"], ["'-1'", "at least 1"]),
        (["eval", "--k", "1,x"], ["'1,x'"]),
        (["eval", "--limit", "0"], ["--limit"]),
        (["eval", "--split", "dev"], ["train", "valid", "test"]),
        (["active-units", "--definition", "mine"], ["original-code"]),
        (["data", "minst"], ["'minst'", "did you mean 'mnist'", "digits"]),
        (["data", "digits", "valid"], ["key=value"]),
        (["data", "digits", "tset=3"], ["did you mean 'test'"]),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments: list[str], parts: list[str]) -> None:
    assert_one_line(invoke(*arguments), *parts)


def test_no_run_to_evaluate_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError):
        folder.newest_run(Path("outputs"))
    assert_one_line(invoke("eval"))
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_exits_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(outputs: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(folder, "newest_run", interrupted)
    assert_one_line(invoke("eval"), "interrupted", code=130)


def test_an_unexpected_exception_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(outputs: Path) -> Path:
        raise ZeroDivisionError

    monkeypatch.setattr(folder, "newest_run", broken)
    assert isinstance(invoke("eval").exception, ZeroDivisionError)


def test_eval_takes_several_checkpoints_and_a_list_of_k(
    evaluations: list[dict[str, Any]], tmp_path: Path
) -> None:
    models = [tmp_path / "a.pt", tmp_path / "b.pt"]
    for model in models:
        model.touch()
    given = [word for model in models for word in ("--checkpoint", str(model))]
    result = invoke("eval", *given, "--k", "50,1,50", "--json")
    assert [call["path"] for call in evaluations] == models
    assert evaluations[0]["k"] == [1, 50]
    assert evaluations[0]["split"] == "test"
    assert [row["k"] for row in json.loads(result.stdout)] == [1, 50, 1, 50]
    assert json.loads(result.stdout)[0]["bias"] is None, "NaN is not JSON"


def test_eval_evaluates_the_newest_run_and_names_it_on_stderr(
    evaluations: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "newest_run", lambda outputs: outputs / "runs" / "newest")
    result = invoke("eval")
    newest = Path("outputs/runs/newest")
    assert evaluations[0]["path"] == newest
    assert str(newest) in result.stderr
    assert "88.500" in result.stdout
    assert "runs/[a]" in result.stdout, "brackets in a name are not markup"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (["x-k5-2", "--checkpoint", "[a]"], ["outputs/runs/x-k5-2", "[a]"]),
        (["x-k5-1"], ["outputs/runs/x-k5-1"]),  # a name as `iwae runs` prints it
        (["outputs/runs/x-k5-1/checkpoint.pt"], ["outputs/runs/x-k5-1/checkpoint.pt"]),
        (["*k5-*"], ["outputs/runs/x-k5-1", "outputs/runs/x-k5-2"]),
        (["outputs/runs/*k50*"], ["outputs/runs/x-k50-1"]),
        (["[a]"], ["[a]"]),  # a file that is there is no pattern
    ],
)
def test_runs_are_given_as_paths_names_and_patterns(
    evaluations: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    given: list[str],
    found: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("x-k5-1", "x-k5-2", "x-k50-1"):
        (tmp_path / "outputs" / "runs" / name).mkdir(parents=True)
        (tmp_path / "outputs" / "runs" / name / "checkpoint.pt").touch()
    (tmp_path / "[a]").touch()
    invoke("eval", *given)
    assert [str(call["path"]) for call in evaluations] == found
    assert completed("iwae eval x-k5-") == ["x-k5-1", "x-k5-2", "file,x-k5-"]


def test_a_pattern_without_a_match_and_one_file_for_many_runs_are_one_line() -> None:
    assert_one_line(invoke("eval", "nothing-*"), "no run matches 'nothing-*'", "iwae runs")
    assert_one_line(invoke("sample", "a", "b", "--output", "x.png"), "one file", "2 runs")


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_tables_fit_the_terminal_and_break_no_number_or_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    names = list(EVALUATED)
    row: dict[str, Any] = {name: 10000.0 + place for place, name in enumerate(names)}
    row |= {"split": "test", "estimator": "L_k", "k": 500000}
    monkeypatch.setenv("COLUMNS", str(width))
    print_table([row, row], EVALUATED, spare=SPARE)
    shown = capsys.readouterr().out
    assert max(len(line) for line in shown.splitlines()) <= width
    kept = [name for name in names if name not in SPARE]
    for name in kept if width > 40 else names:
        assert shown.count(shown_value(row[name])) == 2, name
    assert ("10011" in shown) == (width in (40, 60, 120, 200)), "images/s is left out first"


def test_data_lists_every_source() -> None:
    listed = [source["name"] for source in json.loads(invoke("data", "--json").stdout)]
    assert listed == ["arrays", "digits", "mnist", "mnist_fixed", "omniglot"]
    assert all(name in invoke("data").stdout for name in listed)


def test_data_describes_a_source_with_options() -> None:
    described = json.loads(invoke("data", "digits", "valid=7", "--json").stdout)
    assert described["splits"]["valid"]["images"] == 7
    assert "1390" in invoke("data", "digits", "valid=7").stdout


def test_data_takes_shares_of_own_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "7.npy", np.eye(20))
    told = invoke("data", "arrays", f"train={tmp_path / '7.npy'}", "test=0.25", "valid=2", "--json")
    splits = json.loads(told.stdout)["splits"]
    assert [splits[name]["images"] for name in ("train", "valid", "test")] == [13, 2, 5]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("iwae train arch=two", ["arch=two_latents", "arch=two_layer"]),
        ("iwae train arch=two_la", ["arch=two_latents", "arch=two_layer"]),
        ("iwae train opt", ["optimizer.", "optimizer="]),
        ("iwae train optimizer=paper optimizer.st", ["optimizer.stages="]),
        ("iwae train optimizer=fast optimizer.pa", ["optimizer.passes="]),
        ("iwae train -m k=1,5 objective=va", ["objective=vae"]),
        ("iwae train arch = two", ["two_latents", "two_layer"]),  # as bash splits words
        ("iwae train k = 5 arch = two_lay", ["two_layer"]),
        ("iwae train nonsense=3 seed", []),
        ("iwae train device=c", ["device=cpu", "device=cuda"]),
        ("iwae train precision=", ["precision=auto", "precision=float32", "precision=bfloat16"]),
        ("iwae train -m objective=iwae,vr", ["objective=iwae,vr", "objective=iwae,vr_dreg"]),
        ("iwae train -m arch = one_layer,two_lay", ["one_layer,two_layer"]),
        ("iwae data mnist", ["mnist", "mnist_fixed"]),
        ("iwae eval --estimator j", ["jvi"]),
        ("iwae gradients --objective dr", ["dreg", "dreg_alpha"]),
        ("iwae train --mul", ["--multirun"]),
        ("iwae act", ["active-units"]),
    ],
)
def test_the_shell_completes(line: str, found: list[str]) -> None:
    assert completed(line) == found


def test_the_shell_completes_every_estimator() -> None:
    from iwae_cli.cli.completion import ESTIMATORS
    from iwae_cli.evaluation import estimators

    assert (*estimators.ESTIMATORS, estimators.ANNEALED) == ESTIMATORS


def test_the_completion_script_is_valid_bash() -> None:
    asked = {"_IWAE_COMPLETE": "bash_source"}
    script = CliRunner().invoke(main, [], prog_name="iwae", env=asked).stdout
    assert "nospace" in script
    checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_module_runs_as_the_command(tmp_path: Path) -> None:
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "iwae_cli", "train", "kk=5"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("iwae: unknown key 'kk'")


def training_examples() -> list[str]:
    """Return the command lines of `iwae train` that the help pages show."""
    pages = [main.help or "", *(command.help or "" for command in main.commands.values())]
    lines = [line.strip() for page in pages for line in page.splitlines()]
    return [re.split(r"   +", line)[0] for line in lines if line.startswith("iwae train ")]


def test_help_pages_show_how_to_train() -> None:
    assert len(training_examples()) >= 8


@pytest.mark.parametrize("example", training_examples())
def test_a_training_example_of_a_help_page_can_be_run(example: str) -> None:
    from iwae_cli.cli import launch, profiles

    words = shlex.split(example)[2:]
    overrides = [word for word in words if not word.startswith("-") and word != "job"]
    found = launch.plans(profiles.sweeps_of(overrides), multirun="-m" in words)
    assert all(len(plan.points) >= 1 for plan in found)
