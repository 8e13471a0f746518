"""YAML files of one's own, and paths and names that look like something else."""

from pathlib import Path

import pytest
from mistakes import assert_named, typed

from iwae_cli.cli.launch import plan

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


def test_a_number_for_a_text_in_own_yaml_is_refused(mine: Path) -> None:
    (mine / "experiment" / "x.yaml").write_text("outputs: 2024_11_03\n")
    parts = ["outputs must be a text", "20241103", "quote it"]
    assert_named(typed(f"train --config-dir {mine} experiment=x"), parts, code=2)
