"""The paper's claims beside what runs came to."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf
from run_folders import (
    change_config,
    change_environment,
    evaluated,
    paper_run,
    run_of,
    write_table,
)

from iwae_cli.evaluation.active_units import active_units
from iwae_cli.reports.claim import Claim
from iwae_cli.reports.claim_of_swaps import SWAP
from iwae_cli.reports.claims import INACTIVE, LITTLE_GAIN, OVERFITTING
from iwae_cli.reports.page_content import page_of
from iwae_cli.reports.report import Report, report_of, texts


def rows_of(report: Report, claim: Claim, **place: Any) -> list[dict[str, Any]]:
    table = report.claims[report.claims["claim"] == claim.text]
    for key, value in place.items():
        table = table[table[key] == value]
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def count(run: Path, *active: int) -> None:
    """Let a run have so many active units a layer."""
    rows = [
        {"layer": layer, "unit": unit, "variance": 1.0, "active": True, "passes": 1}
        | {"threshold": 0.01, "definition": "paper"}
        for layer, number in enumerate(active, start=1)
        for unit in range(number)
    ]
    write_table(run / "active_units.csv", pd.DataFrame(rows))


def test_removing_units_is_read_from_the_check_that_the_run_folder_holds(
    outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(outputs, "iwae", 2)
    monkeypatch.setattr("iwae_cli.evaluation.active_units.THRESHOLD", 1e9)  # as if it were usual
    found = active_units(run, check=True, k=20, samples=2, threshold=1e9)
    shutil.rmtree(run_of(outputs, "iwae", 2, seed=1))
    (row,) = rows_of(report_of(outputs), INACTIVE)
    assert row["value"] == pytest.approx(found["check"]["difference"])
    assert row["se"] == pytest.approx(found["check"]["se_difference"])
    assert row["holds"] == ("yes" if abs(row["value"]) < 0.06 else "no: more")
    table = pd.read_csv(run / "removal.csv")
    write_table(run / "removal.csv", table.assign(difference=-0.061))
    assert rows_of(report_of(outputs), INACTIVE)[0]["holds"] == "no: more"
    write_table(run / "removal.csv", table.assign(difference=-0.059))
    assert rows_of(report_of(outputs), INACTIVE)[0]["holds"] == "yes"
    change_environment(run, total_passes=9)
    assert rows_of(report_of(outputs), INACTIVE) == [], "a check of an unfinished run"


def test_the_gap_compares_the_elbo_of_a_vae_and_the_bound_of_its_k_of_an_iwae(
    outputs: Path,
) -> None:
    vae, iwae = run_of(outputs, "vae", 2), run_of(outputs, "iwae", 2)
    shutil.rmtree(run_of(outputs, "iwae", 2, seed=1))
    report = report_of(outputs)
    (row,) = rows_of(report, OVERFITTING, model="VAE k=2")
    train = pd.read_csv(vae / "metrics.csv")["train_bound"].iloc[-1]
    test = pd.read_csv(vae / "eval.csv").query("k == 20")["negative_elbo"].item()
    assert row["value"] == pytest.approx(train + test)
    assert (row["paper"], row["holds"]) == ("", ""), "the paper has no digits"
    assert rows_of(report, OVERFITTING, model="IWAE k=2") == [], "L_2 was not estimated"
    table = pd.read_csv(iwae / "eval.csv")
    last = table.iloc[-1:].assign(k=2, nll=30.0)
    write_table(iwae / "eval.csv", pd.concat([table, last]))
    (row,) = rows_of(report_of(outputs), OVERFITTING, model="IWAE k=2")
    train = pd.read_csv(iwae / "metrics.csv")["train_bound"].iloc[-1]
    assert row["value"] == pytest.approx(train + 30)


@pytest.mark.parametrize(("gap", "holds"), [(0.5, "no: less"), (0.7, "yes"), (0.9, "no: more")])
def test_the_papers_gap_of_mnist_is_a_range(outputs: Path, gap: float, holds: str) -> None:
    run = paper_run(run_of(outputs, "vae", 1), "mnist")
    evaluated(run, nll=100.0)
    metrics = pd.read_csv(run / "metrics.csv")
    table = pd.read_csv(run / "eval.csv").assign(negative_elbo=105.0)
    write_table(run / "eval.csv", table)
    write_table(run / "metrics.csv", metrics.assign(train_bound=gap - 105))
    (row,) = rows_of(report_of(outputs), OVERFITTING, data="MNIST")
    assert row["value"] == pytest.approx(gap)
    assert (row["paper"], row["holds"]) == ("0.62 to 0.79", holds)


@pytest.mark.parametrize(("nll", "holds"), [(86.0, "yes"), (85.0, "no")])
def test_what_vae_gains_is_compared_with_what_iwae_gains(
    outputs: Path, nll: float, holds: str
) -> None:
    for name, objective, k, value in (
        ("one", "vae", 1, 87.0),
        ("two", "vae", 50, nll),
        ("three", "iwae", 50, 84.5),
    ):
        evaluated(paper_run(run_of(outputs, objective, 1), name, k=k), nll=value)
    (row,) = rows_of(report_of(outputs), LITTLE_GAIN, data="MNIST")
    assert row["value"] == pytest.approx(87 - nll)
    assert row["paper"] == "VAE +0.41, IWAE +1.98"
    assert row["holds"] == holds


@pytest.mark.parametrize(
    ("second", "holds"), [(22, "yes"), (19, "no: not towards it"), (17, "no: not towards it")]
)
def test_a_swap_should_move_the_units_towards_those_of_the_second_objective(
    outputs: Path, second: int, holds: str
) -> None:
    parent = paper_run(run_of(outputs, "vae", 1), "parent")
    target = paper_run(run_of(outputs, "iwae", 1), "target", k=50)
    config = OmegaConf.to_container(OmegaConf.load(parent / "config.yaml"))
    child = paper_run(run_of(outputs, "iwae", 1), "child", k=50, init_from=config)
    for run, units in ((parent, 19), (target, 25), (child, second)):
        evaluated(run, nll=85.0)
        count(run, units)
    (row,) = rows_of(report_of(outputs), SWAP)
    assert row["ours"] == f"19 -> {second} (from the start 25)"
    assert row["paper"] == "19 -> 22 (from the start 25)"
    assert row["holds"] == holds
    shutil.rmtree(target)
    assert rows_of(report_of(outputs), SWAP) == [], "nothing to move towards"


def test_claims_of_several_seeds_have_a_mean_and_are_in_every_format(outputs: Path) -> None:
    runs = [run_of(outputs, "iwae", 2, seed) for seed in (0, 1)]
    for run, difference in zip(runs, (0.01, 0.03), strict=True):
        active_units(run, check=True, k=5, samples=2)
        table = pd.read_csv(run / "removal.csv")
        write_table(run / "removal.csv", table.assign(difference=difference))
    report = report_of(outputs)
    (row,) = rows_of(report, INACTIVE)
    assert (row["value"], row["seeds"]) == (pytest.approx(0.02), 2)
    assert row["sd"] == pytest.approx(np.std([0.01, 0.03], ddof=1))
    assert np.isnan(row["se"])
    files = dict(texts(report))
    for kind, sign in (("csv", "±"), ("md", "±"), ("tex", r"$\pm$")):
        assert f"+0.020 {sign} 0.014, n=2" in files[f"claims.{kind}"]
    shown = [table.title for section in page_of(report, []).sections for table in section.tables]
    assert any(INACTIVE.text in title for title in shown)


def test_passes_that_grow_with_k_are_one_protocol_and_others_are_not(outputs: Path) -> None:
    for objective in ("vae", "iwae"):
        for k, passes in ((1, 13), (2, 20)):
            change_environment(run_of(outputs, objective, k), total_passes=passes)
            metrics = run_of(outputs, objective, k) / "metrics.csv"
            write_table(metrics, pd.read_csv(metrics).assign(**{"pass": passes}))
    shutil.rmtree(run_of(outputs, "iwae", 2, seed=1))
    protocols = set(report_of(outputs).scores["protocol"])
    assert protocols == {"paper, 13/20 passes for k=1/2"}
    change_environment(run_of(outputs, "iwae", 2), total_passes=21)
    protocols = set(report_of(outputs).scores["protocol"])
    assert protocols == {"paper, 13 passes", "paper, 20 passes", "paper, 21 passes"}
    for objective in ("vae", "iwae"):
        change_environment(run_of(outputs, objective, 2), total_passes=7)
    assert set(report_of(outputs).scores["protocol"]) == {"paper, 13 passes", "paper, 7 passes"}
    change_environment(run_of(outputs, "vae", 2), total_passes=20)
    change_config(run_of(outputs, "vae", 1), {"optimizer.eps": 1.0})
    change_environment(run_of(outputs, "iwae", 2), total_passes=20)
    assert "paper, 20 passes" not in set(report_of(outputs).scores["protocol"])
