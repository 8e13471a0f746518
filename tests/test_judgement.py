"""Likelihoods and active units of a trained run as rows, as the commands get them."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import changed_checkpoint, settings

import iwae_cli
from iwae_cli.core.errors import ConfigError, ResultsError
from iwae_cli.evaluation.active_units import active_units
from iwae_cli.evaluation.evaluate import evaluate
from iwae_cli.runs.eval_csv import EARLIER
from iwae_cli.training import run as training
from iwae_cli.training.components import components_of


def test_evaluation_adds_rows_once_and_writes_each_images_estimate(copied: Path) -> None:
    rows = evaluate(copied, k=[1, 20], limit=30)
    assert [row["k"] for row in rows] == [1, 20]
    assert rows[1]["nll"] < rows[0]["nll"] == rows[0]["negative_elbo"]
    before = (copied / "eval.csv").stat().st_mtime_ns
    again = evaluate(copied, k=[20], limit=30)
    assert again[0]["seconds"] == rows[1]["seconds"]
    assert (copied / "eval.csv").stat().st_mtime_ns == before
    evaluate(copied, k=[20, 40], limit=30, seed=1)
    table = pd.read_csv(copied / "eval.csv")
    assert table[["k", "seed"]].to_numpy().tolist() == [[1, 0], [20, 0], [20, 1], [40, 1]]
    assert set(table["binarization"]) == {"dynamic"}
    with np.load(copied / "per_image.npz") as per_image:
        assert -per_image["test_k20_n30_seed0"].mean() == pytest.approx(rows[1]["nll"])
        assert len(per_image.files) == 8
        assert per_image["test_k20_n30_seed0"].shape == per_image["test_k20_n30_seed0_khat"].shape


def test_other_estimators_are_rows_of_their_own_that_say_what_they_bound(copied: Path) -> None:
    usual = evaluate(copied, k=[20], limit=30)[0]
    same = evaluate(copied, k=[20], limit=30, estimator="vr,alpha=0")[0]
    jackknife = evaluate(copied, k=[20], limit=30, estimator="jvi")[0]
    lower = evaluate(copied, k=[20], limit=30, estimator="vr")[0]
    above = evaluate(copied, k=[20], limit=30, estimator="vr,alpha=-1")[0]
    assert same["nll"] == pytest.approx(usual["nll"])
    assert jackknife["nll"] < usual["nll"] < lower["nll"] < usual["negative_elbo"]
    assert math.isnan(jackknife["bias"])
    table = pd.read_csv(copied / "eval.csv").set_index("estimator")["bound_kind"].to_dict()
    assert table == {
        "L_k": "lower",
        "vr(alpha=0.0)": "lower",
        "jvi(order=1)": "neither",
        "vr(alpha=0.5)": "lower",
        "vr(alpha=-1.0)": "neither",
    }
    assert above["nll"] < usual["nll"]
    with np.load(copied / "per_image.npz") as per_image:
        assert len(per_image.files) == 10


def test_bad_estimators_are_named_before_any_work(copied: Path) -> None:
    for estimator, message in (
        ("elbo", "unknown estimator 'elbo'"),
        ("jvi,order=3", "order must be 1 or 2"),
        ("jvi,order=2", "order 2 needs k in 3..200, got k=5000"),
    ):
        with pytest.raises(ConfigError, match=re.escape(message)):
            evaluate(copied / "no such run", estimator=estimator)


def test_evaluation_in_bfloat16_is_a_row_of_its_own_and_close(copied: Path) -> None:
    exact = evaluate(copied, k=[50], limit=30)[0]
    rough = evaluate(copied, k=[50], limit=30, precision="bfloat16")[0]
    assert rough["precision"] == "bfloat16"
    assert 0 < abs(rough["nll"] - exact["nll"]) < 0.1
    assert len(pd.read_csv(copied / "eval.csv")) == 2


def test_rows_of_the_first_version_are_known_and_not_computed_again(copied: Path) -> None:
    row = evaluate(copied, k=[20], limit=30)[0]
    later = [*EARLIER, "identity", "check"]
    table = pd.read_csv(copied / "eval.csv").drop(columns=later)
    table.to_csv(copied / "eval.csv", index=False)
    again = evaluate(copied, k=[20], limit=30)[0]
    assert again["seconds"] == row["seconds"]
    assert again["precision"] == "float32"
    assert math.isnan(again["share_khat_above_0.7"])


def test_damaged_results_are_named_and_nothing_is_computed_on_them(copied: Path) -> None:
    evaluate(copied, k=[5], limit=10)
    whole = (copied / "eval.csv").read_text()
    (copied / "eval.csv").write_text(whole[:-60])
    with pytest.raises(ResultsError, match=r"eval.csv is damaged"):
        evaluate(copied, k=[5], limit=10)
    (copied / "eval.csv").write_text(whole)
    (copied / "per_image.npz").write_bytes(b"junk")
    with pytest.raises(ResultsError, match=r"per_image.npz is damaged"):
        evaluate(copied, k=[6], limit=10)
    assert (copied / "eval.csv").read_text() == whole


def test_metrics_that_were_cut_are_whole_again_when_a_finished_run_is_named(tmp_path: Path) -> None:
    run = settings(tmp_path)
    metrics = training.run(run).folder / "metrics.csv"
    whole = metrics.read_text()
    metrics.write_text(whole[:-9])
    assert training.run(run).already_finished
    assert metrics.read_text() == whole


def test_a_checkpoint_of_more_training_is_evaluated_anew(copied: Path) -> None:
    evaluate(copied, k=[5], limit=10)
    with changed_checkpoint(copied) as content:
        content["training"]["step_in_pass"] += 1
        content["training"]["steps"] += 1
        content["model"]["generative.0.logits.bias"] += 0.5
    evaluate(copied, k=[5], limit=10)
    assert len(pd.read_csv(copied / "eval.csv")["nll"].unique()) == 2


def test_the_loaded_model_gives_the_numbers_of_the_command(copied: Path) -> None:
    model = iwae_cli.load(copied)
    images = components_of(settings(copied)).source.load().test[:20]
    found = model.log_likelihood(images, k=30)
    assert -found.log_p.mean() == pytest.approx(
        evaluate(copied, k=[30], limit=20)[0]["nll"], abs=1e-9
    )
    assert f"20 images, k=30: NLL {-found.log_p.mean():.3f} +-" in repr(found)


@pytest.mark.parametrize("definition", ["paper", "original-code"])
def test_active_units_writes_every_variance_and_counts_as_the_paper_does(
    copied: Path, definition: Any
) -> None:
    result = active_units(copied, definition=definition, threshold=1e-4, split="test")
    table = pd.read_csv(result["csv"])
    assert table["layer"].tolist() == [1] * 4 + [2] * 3
    counts = table[table["variance"] > 1e-4].groupby("layer").size().reindex([1, 2], fill_value=0)
    assert result["active"] == "+".join(map(str, counts))
    assert result["images"] == (400 if definition == "paper" else 500)
    assert result["split"] == ("test" if definition == "paper" else "train")


def test_check_reports_a_paired_difference_that_is_zero_when_all_units_stay(copied: Path) -> None:
    nothing = active_units(copied, threshold=-1.0, check=True, k=20, limit=15)
    assert nothing["check"]["difference"] == pytest.approx(0, abs=1e-6)
    everything = active_units(copied, threshold=1e9, check=True, k=20, limit=15)
    check = everything["check"]
    assert everything["active"] == "0+0"
    assert check["difference"] == pytest.approx(check["nll_without_inactive"] - check["nll"])
    assert abs(check["difference"]) > 1e-3
