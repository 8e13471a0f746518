"""Results belong to parameters, a checkpoint to its folder, and config.yaml to the checkpoint."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from conftest import changed_checkpoint, settings
from omegaconf import OmegaConf

import iwae_cli
from iwae_cli.core import config
from iwae_cli.core.errors import CheckpointError, UsageError
from iwae_cli.evaluation.active_units import active_units
from iwae_cli.evaluation.encoding import encode
from iwae_cli.evaluation.evaluate import evaluate
from iwae_cli.evaluation.visualisation import sample
from iwae_cli.reports.read_runs import read_runs
from iwae_cli.runs.checkpoint import Checkpoint
from iwae_cli.runs.config_yaml import differences, read_config
from iwae_cli.runs.export import export
from iwae_cli.training import run as training

COMMANDS: dict[str, Callable[[Path], object]] = {
    "eval": lambda path: evaluate(path, k=[2], limit=5),
    "active-units": lambda path: active_units(path, samples=1),
    "sample": lambda path: sample(path, count=1),
    "encode": lambda path: encode(path, k=2, limit=5),
    "export": lambda path: export(path, output=path.parent / "exported.pt"),
    "load": iwae_cli.load,
}


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of a whole run folder."""
    return Path(shutil.copytree(trained, tmp_path / "runs" / trained.name))


def other_parameters(run: Path) -> None:
    """Replace the checkpoint by one of the same run and pass with other parameters."""
    with changed_checkpoint(run) as content:
        content["model"]["generative.0.logits.bias"] += 0.5


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("anchor", ["name", "environment"])
def test_every_command_refuses_a_checkpoint_of_another_run(
    run: Path, command: Callable[[Path], object], anchor: str
) -> None:
    with changed_checkpoint(run) as content:
        content["identity"] = "0" * 64
    if anchor == "name":
        (run / "environment.json").unlink()
    else:
        run = run.rename(run.with_name("renamed"))
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    with pytest.raises(CheckpointError, match="belongs to another run") as caught:
        command(run)
    assert "\n" not in str(caught.value)
    assert {file: file.read_bytes() for file in run.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("edited", "was changed after training (k 50 -> 3)"),
        ("missing", "is missing"),
        ("damaged", "cannot be read"),
        ("aliases", "it has aliases"),
    ],
)
def test_a_config_that_does_not_say_what_the_run_is_is_named_and_restored(
    run: Path, damage: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = run / "config.yaml"
    whole = file.read_text()
    if damage == "edited":
        changed = OmegaConf.load(file)
        changed.k = 50
        OmegaConf.save(changed, file)
        (left_out,) = read_runs(run, arrays=False)[1]
        assert left_out.path == file
        assert "changed after training" in left_out.reason
    elif damage == "missing":
        file.unlink()
    else:
        file.write_text("a: &a [1]\nb: *a\n" if damage == "aliases" else "k: [1\n")
    iwae_cli.load(run)
    assert said in caplog.text
    assert "restored from the checkpoint" in caplog.text
    assert file.read_text() == whole
    assert not read_runs(run, arrays=False)[1]


def test_runs_are_found_through_links_and_each_once(run: Path, tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "runs").symlink_to(run.parent)
    (tmp_path / "outputs" / "again").symlink_to(run.parent)
    (run.parent / "above").symlink_to(tmp_path)
    found, left_out = read_runs(tmp_path / "outputs", arrays=False)
    assert [record.name for record in found] == [run.name]
    assert not left_out


def test_where_results_go_and_threads_are_no_differences() -> None:
    one = {"k": 3, "arch": {"name": "a", "latents": [2]}, "outputs": "x", "threads": 1}
    other = {"k": 3, "arch": {"name": "b", "latents": [2]}, "outputs": "y", "threads": None}
    assert differences(one, other) == []
    assert differences({**one, "init_from": {"k": 1}}, {**one, "init_from": {"k": 2}}) == [
        "init_from.k 1 -> 2"
    ]


def test_another_checkpoint_of_the_run_has_rows_of_its_own_and_replaces_stale_ones(
    run: Path,
) -> None:
    first = evaluate(run, k=[3], limit=20)[0]
    other_parameters(run)
    second = evaluate(run, k=[3], limit=20)[0]
    assert abs(first["nll"] - second["nll"]) > 0.1
    assert evaluate(run, k=[3], limit=20)[0]["nll"] == second["nll"]
    assert pd.read_csv(run / "eval.csv")["nll"].tolist() == [second["nll"]]


def test_a_second_checkpoint_in_a_folder_leaves_the_first_ones_results(run: Path) -> None:
    evaluate(run, k=[3], limit=20)
    stored = (run / "eval.csv").read_bytes()
    shutil.copy(run / "checkpoint.pt", run / "older.pt")
    with changed_checkpoint(run / "older.pt") as content:
        content["model"]["generative.0.logits.bias"] += 0.5
    assert (
        evaluate(run / "older.pt", k=[3], limit=20)[0]["nll"]
        != evaluate(run, k=[3], limit=20)[0]["nll"]
    )
    assert active_units(run / "older.pt", samples=1)["csv"] is None
    with pytest.raises(UsageError, match="name a file with --output"):
        encode(run / "older.pt", k=2, limit=5)
    assert (run / "eval.csv").read_bytes() == stored


def test_reports_leave_out_results_of_other_parameters_and_name_them(run: Path) -> None:
    evaluate(run, k=[3], limit=20)
    active_units(run, samples=2)
    environment = json.loads((run / "environment.json").read_text())
    assert environment["parameters"] == Checkpoint.read(run / "checkpoint.pt").parameters_digest
    other_parameters(run)
    iwae_cli.load(run)  # any command that reads the checkpoint
    ((record,), left_out) = read_runs(run, arrays=True)
    assert record.evaluations.empty
    assert record.active_units.empty
    assert not record.pictures
    named = {one.path.name: one.reason for one in left_out}
    assert named.keys() == {"eval.csv", "active_units.csv", "pictures.npz"}
    assert "another model" in named["eval.csv"]


def test_results_of_another_run_copied_into_a_folder_are_left_out(
    run: Path, tmp_path: Path
) -> None:
    other = training.run(settings(tmp_path / "outputs", seed=1)).folder
    evaluate(other, k=[3], limit=20)
    shutil.copy(other / "eval.csv", run / "eval.csv")
    ((record,), left_out) = read_runs(run, arrays=False)
    assert record.evaluations.empty
    assert left_out[0].path == run / "eval.csv"


def test_exploring_thresholds_and_definitions_leaves_the_record(run: Path) -> None:
    active_units(run, samples=5)
    record = (run / "active_units.csv").read_bytes()
    for options in (
        {"threshold": 0.5, "samples": 5},
        {"definition": "original-code"},
        {"split": "test", "samples": 5},
        {"seed": 1, "samples": 5},
        {"samples": 2},
        {"samples": 5, "limit": 7},
    ):
        result = active_units(run, check=True, k=2, **options)
        assert Path(result["csv"]).exists()
        assert Path(result["csv"]).name.startswith("active_units-")
    assert (run / "active_units.csv").read_bytes() == record
    assert not (run / "removal.csv").exists()
    assert active_units(run, samples=10)["csv"] == str(run / "active_units.csv")
    assert (run / "active_units.csv").read_bytes() != record


def test_follow_ups_are_done_again_where_they_are_of_other_parameters_or_damaged(
    tmp_path: Path,
) -> None:
    then = config.Then(active_units=True)
    asked = settings(tmp_path, then={"active_units": True})
    assert asked.then == then
    run = training.run(asked).folder
    files = [run / "active_units.csv", run / "pictures.npz"]
    whole = [file.read_bytes() for file in files]
    times = [file.stat().st_mtime_ns for file in files]
    assert training.run(asked).already_finished
    assert [file.stat().st_mtime_ns for file in files] == times
    for file in files:
        file.write_bytes(file.read_bytes()[:-40])
    training.run(asked)
    assert files[0].read_bytes() == whole[0]
    assert read_runs(run, arrays=True)[1] == []
    other_parameters(run)
    training.run(asked)
    assert files[0].read_bytes() != whole[0]
    assert read_runs(run, arrays=True)[1] == []


def test_a_row_that_the_single_images_contradict_is_computed_again(run: Path) -> None:
    row = evaluate(run, k=[3], limit=20)[0]
    later = ["identity", "parameters", "check"]
    table = pd.read_csv(run / "eval.csv").drop(columns=later)  # as an earlier version wrote it
    table.assign(nll=1.0).to_csv(run / "eval.csv", index=False)
    ((record,), (left_out,)) = read_runs(run, arrays=True)
    assert left_out.path == run / "per_image.npz"
    assert "test_k3_n20_seed0" not in record.per_image
    assert evaluate(run, k=[3], limit=20)[0]["nll"] == row["nll"]


def test_removal_is_checked_where_estimates_of_single_images_are_gone(run: Path) -> None:
    evaluate(run, k=[3], limit=20)
    (run / "per_image.npz").unlink()
    found = active_units(run, samples=1, check=True, k=3, limit=20)["check"]
    assert found["nll"] == evaluate(run, k=[3], limit=20)[0]["nll"]


def test_a_config_yaml_is_read_without_aliases_tags_and_beyond_a_size(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    bomb = "a0: &a0 [1,1]\n" + "".join(
        f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
    )
    ran = f"a: !!python/object/apply:os.mkdir ['{tmp_path / 'ran'}']\n"
    for content in (bomb, ran, "k: " + "[" * 3000, "# " + "x" * 200_000, "- 1\n", "\xff"):
        file.write_bytes(content.encode("latin-1"))
        with pytest.raises(ValueError, match=r".") as caught:
            read_config(file)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()
    file.write_text("_target_: os.mkdir\npath: ran\n")
    assert read_config(file) == {"_target_": "os.mkdir", "path": "ran"}
