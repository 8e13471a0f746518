"""`iwae runs`: the state of each run, told from its files."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import Command, tiny_run
from filelock import FileLock
from run_folders import change_config, command

from iwae_cli.cli.main import main
from iwae_cli.evaluation.evaluate import evaluate
from iwae_cli.runs.folder import RunFolder
from iwae_cli.runs.state import last_error, state_of


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    done = command(*tiny_run("optimizer.stages=2"), cwd=folder)
    assert done.returncode == 0, done.stderr
    (run,) = folder.glob("outputs/runs/*")
    return run


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "outputs" / "runs" / original.name))


def shorten(run: Path) -> None:
    """Take the last passes off a run's metrics.csv, as if it had been killed."""
    lines = (run / "metrics.csv").read_text().splitlines(keepends=True)
    (run / "metrics.csv").write_text("".join(lines[:2]))


def runs(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["runs", *map(str, arguments)], prog_name="iwae")


def listed(folder: Path) -> dict[str, object]:
    done = runs(folder, "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    (row,) = json.loads(done.stdout)
    return dict(row)


def test_a_finished_run_is_listed_with_what_it_is(run: Path) -> None:
    evaluate(run, k=[3])
    row = listed(run.parent)
    assert row["state"] == "finished"
    assert (row["objective"], row["k"], row["seed"]) == ("iwae", 2, 0)
    assert (row["passes"], row["total_passes"], row["eval_k"]) == (4, 4, 3)
    assert isinstance(row["nll"], float)
    table = runs(run.parent).stdout
    assert all(part in table for part in (run.name, "finished", "4/4"))


def test_several_folders_and_single_runs_are_listed_every_run_once(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, other := tmp_path / "monday" / "runs" / run.name)
    (tmp_path / "monday" / "notes.txt").write_text("")
    for sources in (["outputs", "monday"], [run.name], [run.name[:9] + "*", other], []):
        done = runs(*sources, "--json")
        assert (done.exit_code, done.stderr) == (0, "")
        assert [row["run"] for row in json.loads(done.stdout)] == [run.name], sources
    done = runs("tuesday")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "there is no 'tuesday'" in done.stderr


def test_a_run_without_its_last_passes_is_interrupted(run: Path) -> None:
    shorten(run)
    row = listed(run.parent)
    assert (row["state"], row["passes"], row["nll"]) == ("interrupted", 1, None)


def test_a_run_that_somebody_trains_is_running(run: Path) -> None:
    with FileLock(run / ".lock"):
        assert listed(run.parent)["state"] == "running"
    assert listed(run.parent)["state"] == "finished"


def test_a_run_whose_log_ends_with_an_error_has_failed_until_it_is_resumed(run: Path) -> None:
    shorten(run)
    folder = RunFolder(run)
    with folder.log.open("a") as log:
        log.write("2026-01-02 03:04:05,678 ERROR the bound is nan at step 3\n")
    assert last_error(folder) == "the bound is nan at step 3"
    assert state_of(folder, passes=1, total=4) == "failed"
    with folder.log.open("a") as log:
        log.write("2026-01-02 03:05:05,678 INFO resuming outputs/runs/x\n")
    assert state_of(folder, passes=1, total=4) == "interrupted"


def test_a_bound_that_explodes_leaves_a_failed_run(tmp_path: Path, iwae: Command) -> None:
    done = iwae(*tiny_run("optimizer.learning_rate=1e30"))
    assert done.returncode == 1
    assert listed(tmp_path)["state"] == "failed"


@pytest.mark.long
def test_a_dry_run_tells_the_state_by_the_same_rules(tmp_path: Path, iwae: Command) -> None:
    folder = tmp_path

    def state() -> str:
        (forecast,) = json.loads(iwae(*tiny_run("--dry-run", "--json")).stdout)
        nonlocal folder
        folder = tmp_path / "outputs" / "runs" / forecast["run"]
        return str(forecast["state"])

    assert state() == "new"
    folder.mkdir(parents=True)
    (folder / "train.log").write_text("2026-01-02 03:04:05,678 ERROR the bound is nan at step 3\n")
    assert state() == "failed"
    with FileLock(folder / ".lock"):
        assert state() == "running"
    (folder / "train.log").unlink()
    assert state() == "interrupted"


def test_asking_for_the_state_creates_no_file(run: Path) -> None:
    (run / ".lock").unlink(missing_ok=True)
    before = sorted(run.iterdir())
    assert not RunFolder(run).is_locked()
    assert sorted(run.iterdir()) == before


def test_a_run_older_than_the_number_of_passes_is_still_told(run: Path) -> None:
    environment = json.loads((run / "environment.json").read_text())
    del environment["total_passes"], environment["format"], environment["identity"]
    del environment["data"]["images"]
    del environment["checksum"], environment["config"]
    (run / "environment.json").write_text(json.dumps(environment))
    assert listed(run.parent)["total_passes"] == 4


def test_what_cannot_be_read_is_named_with_exit_code_1(run: Path) -> None:
    other = shutil.copytree(run, run.parent / "other")
    (other / "config.yaml").write_text("k: 3\n")
    done = runs(run.parent, "--json")
    assert done.exit_code == 1
    assert "other/config.yaml: no key 'arch'" in done.stderr
    assert [row["run"] for row in json.loads(done.stdout)] == [run.name]


def test_no_run_is_one_line(tmp_path: Path) -> None:
    done = runs(tmp_path)
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert runs(tmp_path / "nowhere").exit_code == 2


def test_runs_that_differ_in_their_hash_alone_say_in_what(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    other = run.with_name(run.name[:-8] + "01234567")
    shutil.copytree(run, other)
    change_config(other, {"optimizer.stages": 3})
    rows = {row["run"]: row["differs_in"] for row in json.loads(runs(run.parent, "--json").stdout)}
    assert rows == {run.name: "optimizer.stages=2", other.name: "optimizer.stages=3"}
    assert "differs in" in runs(run.parent).stdout
    shutil.rmtree(other)
    assert "differs in" not in runs(run.parent).stdout
