"""`iwae report` of several folders and of runs.csv files that it wrote itself."""

import io
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT
from run_folders import change_config, command, run_of, write_table

from iwae_cli.core.atomic_write import write_arrays
from iwae_cli.evaluation.active_units import active_units
from iwae_cli.reports.report import Report, report_of, texts, write
from iwae_cli.runs.arrays_file import read_arrays
from iwae_cli.runs.eval_csv import KEY

COMMITTED = sorted((ROOT / "outputs" / "paper").rglob("runs.csv"))


def table_of(report: Report, name: str) -> str:
    return dict(texts(report))[name]


def cells_of(report: Report) -> pd.DataFrame:
    """Return the cells of a report's runs.csv, as texts."""
    return pd.read_csv(io.StringIO(table_of(report, "runs.csv")), dtype=str)


def newer(run: Path, *, nll: float, when: str) -> None:
    """Let the evaluations of a run be of another time and result."""
    table = pd.read_csv(run / "eval.csv").assign(nll=nll, evaluated=when)
    write_table(run / "eval.csv", table)
    arrays = read_arrays(run / "per_image.npz")
    write_arrays(run / "per_image.npz", {n: a - a.mean() - nll for n, a in arrays.items()})


@pytest.mark.long
def test_a_report_of_its_own_runs_csv_has_the_same_tables(outputs: Path, tmp_path: Path) -> None:
    active_units(run_of(outputs, "iwae", 2), check=True, k=5, samples=2)
    change_config(run_of(outputs, "vae", 2), {"optimizer.eps": 1.0, "init_from": None})
    first = report_of(outputs)
    write(first, tmp_path / "report")
    again = report_of(tmp_path / "report" / "runs.csv")
    names = [f"{n}.{kind}" for n in ("results", "claims") for kind in ("csv", "md", "tex")]
    for name in names:
        assert table_of(again, name) == table_of(first, name), name
    stored, once_more = (cells_of(report).dropna(axis=1, how="all") for report in (first, again))
    pd.testing.assert_frame_equal(once_more, stored, check_like=True)
    assert again.missing == first.missing
    assert not again.unreadable
    assert not again.duplicates
    write(again, tmp_path / "again")
    drawn = {path.name for path in (tmp_path / "again" / "figures").iterdir()}
    assert drawn
    assert all("against-k" in name for name in drawn), "there are no pictures to draw"


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
def test_the_committed_tables_are_read(path: Path) -> None:
    report = report_of(path)
    stored = pd.read_csv(path)
    assert len(report.runs) == stored["folder"].nunique()
    assert sum(len(run.evaluations) for run in report.runs) == stored["eval.nll"].notna().sum()
    assert not report.unreadable
    own = cells_of(report)
    for number in ("training_seconds", "passes", "eval.nll", "k", "total_passes"):
        assert own[number].astype(float).tolist() == stored[number].tolist()
    texts = ["run", "identity", "objective", "commit", "data_hash", "hardware"]
    pd.testing.assert_frame_equal(own[texts], pd.read_csv(path, dtype=str)[texts])


def test_runs_of_two_machines_are_one_table(outputs: Path, tmp_path: Path) -> None:
    whole = report_of(outputs)
    away = tmp_path / "away"
    (away / "runs").mkdir(parents=True)
    for objective in ("vae", "iwae"):
        run = run_of(outputs, objective, 1)
        shutil.move(run, away / "runs" / run.name)
    write(report_of(away), tmp_path / "monday")
    both = report_of(outputs, tmp_path / "monday" / "runs.csv")
    assert len(both.runs) == 5
    assert not both.duplicates
    place = ["architecture", "objective", "k"]
    columns = [*place, "nll", "sd", "active", "runs"]
    for one, other in ((whole, both), (whole, report_of(away, outputs))):
        own, theirs = (r.cells.query("nll == nll")[columns] for r in (one, other))
        pd.testing.assert_frame_equal(own, theirs)


@pytest.mark.long
def test_the_newest_evaluation_of_a_run_counts_and_duplicates_are_named(
    outputs: Path, tmp_path: Path
) -> None:
    run = run_of(outputs, "vae", 2)
    newer(run, nll=70.0, when="2030-01-02T00:00:00Z")
    write(report_of(outputs), tmp_path / "monday")
    monday = tmp_path / "monday" / "runs.csv"
    newer(run, nll=60.0, when="2030-01-01T00:00:00Z")
    for sources in ((outputs, monday), (monday, outputs)):
        report = report_of(*sources)
        table = cells_of(report)
        own = table[table["run"] == run.name]
        assert set(own["eval.nll"]) == {"70.0"}
        assert len(own) == len(own.drop_duplicates([f"eval.{name}" for name in KEY])) == 2
        assert len(report.duplicates) == 5, "every run is there twice"
        (line,) = [line for line in report.duplicates if run.name in line]
        assert "2 evaluations" in line
        assert str(monday) in line
    newer(run, nll=50.0, when="2030-01-03T00:00:00Z")
    table = cells_of(report_of(outputs, monday))
    assert set(table[table["run"] == run.name]["eval.nll"]) == {"50.0"}


@pytest.mark.long
def test_other_files_are_no_table_of_runs(outputs: Path, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    done = command("report", "outputs", "other.csv", "--json", cwd=tmp_path)
    assert done.returncode == 1
    assert "not read: other.csv: no runs.csv of iwae report: no column 'run'" in done.stderr
    assert json.loads(done.stdout)["runs"] == 5, "the rest is reported"
    assert command("report", "none.csv", cwd=tmp_path).returncode == 2


def test_runs_stand_in_the_order_of_their_numbers(outputs: Path) -> None:
    run = run_of(outputs, "iwae", 2)
    for name in ("digits-100_50-iwae", "digits-50-iwae-k5", "digits-50-iwae-k50", "digits-3-z"):
        shutil.copytree(run, run.parent / name)
    found = [one.folder.path.name for one in report_of(outputs).runs]
    asked = ["digits-3-z", "digits-50-iwae-k5", "digits-50-iwae-k50", "digits-100_50-iwae"]
    assert [name for name in found if name in asked] == asked


@pytest.mark.long
def test_the_command_says_what_is_there_more_than_once(outputs: Path, tmp_path: Path) -> None:
    assert command("report", cwd=tmp_path).returncode == 0
    done = command("report", "outputs/report/runs.csv", "outputs", "--output", "x", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("more than once: ") == 5
    assert (tmp_path / "x" / "report.html").exists()
