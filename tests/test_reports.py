"""`iwae report`: tables from run folders, the paper's numbers beside them."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf
from run_folders import cell, change_environment, command, copy_of, evaluated, paper_run, run_of

from iwae_cli.reports import published
from iwae_cli.reports.figures.catalogue import drawings
from iwae_cli.reports.layouts import common, our_text
from iwae_cli.reports.report import Report, report_of, texts, write
from iwae_cli.runs.eval_csv import ArrayKey, array_key


def csv_of(report: Report, name: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(dict(texts(report))[name]))


@pytest.mark.long
def test_the_command_writes_tables_figures_and_a_page(outputs: Path, tmp_path: Path) -> None:
    done = command("report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    # A slow machine is told how far the figures are
    assert [line for line in done.stderr.splitlines() if not line.startswith("figures ")] == []
    made = {str(path.relative_to(outputs / "report")) for path in (outputs / "report").rglob("*.*")}
    tables = {f"{name}.{kind}" for name in ("results", "pairs") for kind in ("csv", "md", "tex")}
    assert made >= tables | {"runs.csv", "differences.csv", "report.html"}
    figures = {name for name in made if name.startswith("figures/")}
    assert {name for name in figures if "nll-against-k-digits" in name and name.endswith("png")}
    assert {name[:-3] + "pdf" for name in figures} == {
        name[:-3] + "pdf" for name in figures if name.endswith(".png")
    }
    assert "Results: digits" in done.stdout
    assert "missing" not in done.stdout, "what was not asked for is no news"
    assert "report/report.html" in done.stdout


def test_runs_csv_has_a_row_for_each_run_and_evaluation_with_config_and_provenance(
    outputs: Path,
) -> None:
    table = csv_of(report_of(outputs), "runs.csv")
    assert len(table) == 5 * 2
    run = run_of(outputs, "iwae", 2)
    rows = table[table["run"] == run.name]
    stored = pd.read_csv(run / "eval.csv")
    np.testing.assert_array_equal(rows["eval.nll"], stored["nll"])
    for name in ("k", "split", "binarization", "images", "estimator", "se_images", "se_mc"):
        assert list(rows[f"eval.{name}"]) == list(stored[name])
    row = rows.iloc[0]
    environment = json.loads((run / "environment.json").read_text())
    assert row["identity"] == environment["identity"]
    assert row["identity"].startswith(run.name[-8:])
    assert row["data_hash"] == environment["data"]["hash"]
    assert row["commit"] == environment["commit"]
    assert row["hardware"] == environment["device"]
    assert row["training_seconds"] == pytest.approx(
        pd.read_csv(run / "metrics.csv")["seconds"].sum()
    )
    units = pd.read_csv(run / "active_units.csv")
    assert str(row["active.units"]) == str(units["active"].sum())
    assert (row["k"], row["objective.name"], row["arch.latents"]) == (2, "iwae", "[3]")
    assert row["environment.threads"] == environment["threads"]
    assert (row["passes"], row["total_passes"]) == (1, environment["total_passes"])
    config = OmegaConf.load(run / "config.yaml")
    for key, value in config.optimizer.items():
        assert row[f"optimizer.{key}"] == value


def test_a_cell_is_the_mean_over_seeds_of_the_evaluation_with_the_largest_k(outputs: Path) -> None:
    found = cell(report_of(outputs), data="digits", layers=1, objective="iwae", k=2)
    nlls = [
        pd.read_csv(run_of(outputs, "iwae", 2, seed) / "eval.csv").query("k == 20")["nll"].item()
        for seed in (0, 1)
    ]
    assert found["nll"] == pytest.approx(np.mean(nlls))
    assert found["sd"] == pytest.approx(np.std(nlls, ddof=1))
    assert (found["seeds"], found["eval_k"], found["images"]) == (2, "20", "400")
    shared = common(report_of(outputs).cells)
    assert (
        our_text(found, shared)
        .replace("*", "")
        .startswith(f"{np.mean(nlls):.2f} ± {np.std(nlls, ddof=1):.2f}, n=2 (")
    )


def test_vae_and_iwae_with_k_1_stand_in_for_each_other_and_are_marked(outputs: Path) -> None:
    shutil.rmtree(run_of(outputs, "iwae", 1))
    report = report_of(outputs)
    filled = cell(report, data="digits", layers=1, objective="iwae", k=1)
    own = cell(report, data="digits", layers=1, objective="vae", k=1)
    assert filled["nll"] == own["nll"]
    assert (filled["filled_from"], own["filled_from"]) == ("vae k=1", "")
    table = dict(texts(report))["results.md"]
    text = f"{filled['nll']:.2f} ± {filled['se_images']:.2f} ({filled['active']})*"
    assert text in table, "one seed has its standard error over images"


def test_our_numbers_stand_beside_the_papers_with_the_difference(outputs: Path) -> None:
    one = paper_run(run_of(outputs, "iwae", 1), "mnist-one", k=50)
    evaluated(one, nll=85.0)
    two = paper_run(run_of(outputs, "iwae", 1), "mnist-two", layers=(100, 50), k=50)
    evaluated(two, nll=83.5)
    report = report_of(outputs)
    found = cell(report, data="MNIST", layers=1, objective="iwae", k=50)
    assert (found["paper_nll"], found["paper_active"]) == (84.78, "25")
    assert found["difference"] == pytest.approx(85.0 - 84.78)
    found = cell(report, data="MNIST", layers=2, objective="iwae", k=50)
    assert found["difference"] == pytest.approx(83.5 - 82.90)
    for kind in ("md", "tex"):
        text = dict(texts(report))[f"results.{kind}"]
        assert all(part in text for part in ("85.00", "84.78 (25)", "82.90 (26+7)"))
    digits = report.cells.query("data == 'digits'")
    assert digits["paper_nll"].isna().all(), "the paper has no digits"


def test_an_evaluation_of_some_images_or_of_unfinished_training_fills_no_cell(
    outputs: Path,
) -> None:
    evaluated(run_of(outputs, "vae", 2), nll=1.0, images=100)
    stopped = run_of(outputs, "vae", 1)
    change_environment(stopped, total_passes=9)
    shutil.rmtree(run_of(outputs, "iwae", 1))
    report = report_of(outputs)
    few = cell(report, data="digits", layers=1, objective="vae", k=2)
    assert few["seeds"] == 0
    assert few["status"] == "seed 0 not evaluated on all test images"
    early = cell(report, protocol="paper, 9 passes", layers=1, objective="vae", k=1)
    assert early["status"] == "seed 0 interrupted: 1 of 9 passes"
    assert any("vae k=1: seed 0 interrupted" in line for line in report.missing)


def test_runs_trained_in_different_ways_are_not_averaged(outputs: Path) -> None:
    other = copy_of(run_of(outputs, "iwae", 2), "other", **{"optimizer": {"learning_rate": 0.5}})
    evaluated(other, nll=99.0)
    cells = report_of(outputs).cells.query("data == 'digits' and objective == 'iwae'")
    found = cells[(cells["k"] == 2) & (cells["seeds"] > 0)].set_index("protocol")
    assert len(found) == 2
    assert found.loc["paper, 1 pass, optimizer.learning_rate=0.5", "nll"] == 99.0


def test_table_2_pairs_a_run_with_the_one_it_started_from(outputs: Path) -> None:
    parent = paper_run(run_of(outputs, "vae", 1), "mnist-parent")
    evaluated(parent, nll=87.0)
    config = OmegaConf.to_container(OmegaConf.load(parent / "config.yaml"))
    child = paper_run(run_of(outputs, "iwae", 1), "mnist-child", k=50, init_from=config)
    evaluated(child, nll=85.5)
    report = report_of(outputs)
    stages = report.stages.query("experiment == 'vae k=1 -> iwae k=50'").set_index("stage")
    assert list(stages["nll"]) == [87.0, 85.5]
    assert list(stages["paper_nll"]) == [86.76, 84.88]
    assert stages["difference"].tolist() == pytest.approx([0.24, 0.62])
    table = csv_of(report, "runs.csv").set_index("run")
    assert table.loc["mnist-child", "parent"] == "mnist-parent"
    assert table.loc["mnist-child", "init_from.objective.name"] == "vae"
    mnist = report.cells.query("data == 'MNIST' and k == 50")
    assert mnist["seeds"].sum() == 0, "a second stage is none of the results of one stage"
    assert "Table 2, MNIST: iwae k=50 -> vae k=1: no run" in report.missing
    table = dict(texts(report))["stages.md"]
    assert all(text in table for text in ("VAE k=1", "IWAE k=50", "84.88 (22)"))


def test_differences_are_paired_over_the_images_of_one_evaluation(outputs: Path) -> None:
    report = report_of(outputs)
    arrays = []
    for objective in ("vae", "iwae"):
        with np.load(run_of(outputs, objective, 2) / "per_image.npz") as stored:
            arrays.append(stored["test_k20_n400_seed0"])
    gain = arrays[1] - arrays[0]
    (row,) = report.differences.query("k == 2 and eval_k == 20").to_dict("records")
    assert (row["baseline"], row["objective"], row["seed"]) == ("vae", "iwae", 0)
    assert row["gain"] == pytest.approx(gain.mean())
    assert row["se"] == pytest.approx(gain.std(ddof=1) / 20)
    assert row["t (images only)"] == pytest.approx(row["gain"] / row["se"])
    same = report.differences.query("k == 1 and eval_k == 20").iloc[0]
    assert same["gain"] == 0, "with k = 1 both are one model"


def test_names_of_arrays_are_read_in_one_place() -> None:
    assert array_key("valid_k50_n97_seed3") == ArrayKey("valid", 50, 97, 3)
    assert array_key("posterior") is None


def test_the_papers_cells_are_all_there() -> None:
    keys = [
        (d, n, o, k)
        for d in ("mnist", "omniglot", "mnist_fixed")
        for n in (1, 2)
        for o in published.OBJECTIVES
        for k in published.KS
    ]
    found = [published.published(*key) for key in keys]
    assert None not in found
    assert published.published("digits", 1, "vae", 1) is None
    assert published.published("mnist", 1, "vae", 7) is None
    equal = [
        published.published(d, n, "vae", 1) == published.published(d, n, "iwae", 1)
        for d in ("mnist", "mnist_fixed")
        for n in (1, 2)
    ]
    assert all(equal), "VAE and IWAE with k = 1 are one model"


@pytest.mark.parametrize(("folder", "code"), [("empty", 1), ("nowhere", 2)])
def test_no_run_is_one_line(tmp_path: Path, folder: str, code: int) -> None:
    (tmp_path / "empty").mkdir()
    done = command("report", folder, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
    assert folder in done.stderr
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.long
def test_the_report_is_the_same_when_made_again(outputs: Path) -> None:
    first = {path: path.read_bytes() for path in write(report_of(outputs), outputs / "report")}
    again = write(report_of(outputs), outputs / "report")
    assert {path: path.read_bytes() for path in again} == first


def test_pictures_of_a_run_are_drawn(outputs: Path) -> None:
    rng = np.random.default_rng(0)
    grid = np.linspace(-3, 3, 31)
    density = np.exp(-0.5 * (grid**2 + grid[:, None] ** 2))
    for objective in ("vae", "iwae"):
        np.savez(
            run_of(outputs, objective, 2) / "pictures.npz",
            samples=rng.random((12, 8, 8)),
            originals=rng.random((13, 8, 8)),
            reconstructions=rng.random((13, 8, 8)),
            first_layer_weights=rng.normal(size=(7, 8, 8)),
            last_layer_weights=np.zeros((7, 8, 8)),
            posterior_x=rng.random((6, 8, 8)),
            posterior_axes=np.stack([[grid, grid]] * 6),
            true_posterior=np.stack([density] * 6),
            recognition=np.stack([density] * 6),
        )
    report = report_of(outputs)
    found = drawings(report.runs, report.scores, report.cells, report.compared)
    made = [drawing.name for drawing in found]
    kinds = {"samples-k2": 1, "posteriors": 2, "reconstructions": 4, "weights": 4}
    assert {kind: sum(name.startswith(kind) for name in made) for kind in kinds} == kinds
