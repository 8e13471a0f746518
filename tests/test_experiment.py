"""From a config to results on the embedded digits, through the functions the commands call."""

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

import iwae_cli
from iwae_cli import checkpoint, config, experiment
from iwae_cli.components import components_of, precision_of
from iwae_cli.config import Config
from iwae_cli.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    NonFiniteError,
    ResultsError,
)
from iwae_cli.evaluation.likelihood import log_likelihoods
from iwae_cli.prepare import prepare


def settings(outputs: Path, **changes: Any) -> Config:
    values = {
        "arch": {"latents": [4, 3], "hidden": [[8], [6]]},
        "dataset": {"name": "digits"},
        "objective": {"name": "iwae"},
        "optimizer": {"name": "paper", "stages": 1},
        "k": 3,
        "threads": 1,
        "outputs": str(outputs),
    }
    return config.parse({**values, **changes})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a two-layer run of one pass."""
    return experiment.run(settings(tmp_path_factory.mktemp("outputs"))).folder


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    """A copy of that folder without results."""
    folder = tmp_path / trained.name
    folder.mkdir()
    for name in ("checkpoint.pt", "metrics.csv", "config.yaml"):
        (folder / name).write_bytes((trained / name).read_bytes())
    return folder


def test_a_run_leaves_its_files_in_a_folder_named_by_what_it_is(trained: Path) -> None:
    assert trained.name.startswith("digits-custom-iwae-k3-seed0-")
    assert trained.parent.name == "runs"
    names = {"checkpoint.pt", "config.yaml", "environment.json", "metrics.csv", "train.log"}
    assert names <= {path.name for path in trained.iterdir()}
    assert json.loads((trained / "environment.json").read_text())["torch"] == torch.__version__
    assert OmegaConf.load(trained / "config.yaml").optimizer.eps == 5e-6
    content = checkpoint.load(trained / "checkpoint.pt")
    assert content["config"] == OmegaConf.to_container(OmegaConf.load(trained / "config.yaml"))
    assert content["identity"].startswith(trained.name[-8:])


def test_the_saved_config_gives_the_same_run_again(trained: Path) -> None:
    values = OmegaConf.to_container(OmegaConf.load(trained / "config.yaml"))
    assert isinstance(values, dict)
    result = experiment.run(config.parse(values))  # type: ignore[arg-type]
    assert result.folder == trained
    assert result.already_finished


def test_identity_changes_with_what_is_computed_and_not_with_where() -> None:
    base = settings(Path("a"))
    run = prepare(base)

    def identity(**changes: Any) -> str:
        return prepare(dataclasses.replace(base, **changes)).identity

    same: list[dict[str, Any]] = [
        {"outputs": "b"},
        {"device": "cpu"},
        {"threads": 2},
        {"checkpoint_seconds": 1.0},
        {"then": config.Then(eval=[5])},
    ]
    for change in same:
        assert identity(**change) == run.identity
    other: list[dict[str, Any]] = [
        {"k": 4},
        {"seed": 1},
        {"objective": {"name": "vae"}},
        {"optimizer": {"name": "paper", "stages": 2}},
        {"arch": dataclasses.replace(base.arch, latents=[4, 2])},
        {"init_from": {"k": 4}},
        {"init_from": {"k": 5}},
    ]
    resolved = precision_of("auto", torch.device("cpu"))
    assert identity(precision=resolved, device="cpu") == identity(device="cpu")
    assert identity(precision="float32") != identity(precision="bfloat16")
    found = {identity(**change) for change in other}
    assert len(found | {run.identity}) == len(other) + 1
    smaller = dataclasses.replace(run.dataset, train=run.dataset.train[:-1])
    assert dataclasses.replace(run, dataset=smaller).identity != run.identity


def test_evaluation_adds_rows_once_and_writes_each_images_estimate(copied: Path) -> None:
    rows = experiment.evaluate(copied, k=[1, 20], limit=30)
    assert [row["k"] for row in rows] == [1, 20]
    assert rows[1]["nll"] < rows[0]["nll"] == rows[0]["negative_elbo"]
    before = (copied / "eval.csv").stat().st_mtime_ns
    again = experiment.evaluate(copied, k=[20], limit=30)
    assert again[0]["seconds"] == rows[1]["seconds"]
    assert (copied / "eval.csv").stat().st_mtime_ns == before
    experiment.evaluate(copied, k=[20, 40], limit=30, seed=1)
    table = pd.read_csv(copied / "eval.csv")
    assert table[["k", "seed"]].to_numpy().tolist() == [[1, 0], [20, 0], [20, 1], [40, 1]]
    assert set(table["binarization"]) == {"dynamic"}
    with np.load(copied / "per_image.npz") as per_image:
        assert -per_image["test_k20_n30_seed0"].mean() == pytest.approx(rows[1]["nll"])
        assert len(per_image.files) == 4


def test_other_estimators_are_rows_of_their_own_that_say_what_they_bound(copied: Path) -> None:
    usual = experiment.evaluate(copied, k=[20], limit=30)[0]
    same = experiment.evaluate(copied, k=[20], limit=30, estimator="vr,alpha=0")[0]
    jackknife = experiment.evaluate(copied, k=[20], limit=30, estimator="jvi")[0]
    lower = experiment.evaluate(copied, k=[20], limit=30, estimator="vr")[0]
    above = experiment.evaluate(copied, k=[20], limit=30, estimator="vr,alpha=-1")[0]
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
        assert len(per_image.files) == 5


def test_bad_estimators_are_named_before_any_work(copied: Path) -> None:
    for estimator, message in (
        ("elbo", "unknown estimator 'elbo'"),
        ("jvi,order=3", "order must be 1 or 2"),
        ("jvi,order=2", "order 2 needs k in 3..200, got k=5000"),
    ):
        with pytest.raises(ConfigError, match=re.escape(message)):
            experiment.evaluate(copied / "no such run", estimator=estimator)


def test_evaluation_in_bfloat16_is_a_row_of_its_own_and_close(copied: Path) -> None:
    exact = experiment.evaluate(copied, k=[50], limit=30)[0]
    rough = experiment.evaluate(copied, k=[50], limit=30, precision="bfloat16")[0]
    assert rough["precision"] == "bfloat16"
    assert 0 < abs(rough["nll"] - exact["nll"]) < 0.1
    assert len(pd.read_csv(copied / "eval.csv")) == 2


def test_rows_of_the_first_version_are_known_and_not_computed_again(copied: Path) -> None:
    row = experiment.evaluate(copied, k=[20], limit=30)[0]
    table = pd.read_csv(copied / "eval.csv").drop(columns=["precision", "bound_kind"])
    table.to_csv(copied / "eval.csv", index=False)
    again = experiment.evaluate(copied, k=[20], limit=30)[0]
    assert again["seconds"] == row["seconds"]
    assert again["precision"] == "float32"


def test_damaged_results_are_named_and_nothing_is_computed_on_them(copied: Path) -> None:
    experiment.evaluate(copied, k=[5], limit=10)
    whole = (copied / "eval.csv").read_text()
    (copied / "eval.csv").write_text(whole[:-60])
    with pytest.raises(ResultsError, match=r"eval.csv is damaged"):
        experiment.evaluate(copied, k=[5], limit=10)
    (copied / "eval.csv").write_text(whole)
    (copied / "per_image.npz").write_bytes(b"junk")
    with pytest.raises(ResultsError, match=r"per_image.npz is damaged"):
        experiment.evaluate(copied, k=[6], limit=10)
    assert (copied / "eval.csv").read_text() == whole


def test_metrics_that_were_cut_are_whole_again_when_a_finished_run_is_named(tmp_path: Path) -> None:
    run = settings(tmp_path)
    metrics = experiment.run(run).folder / "metrics.csv"
    whole = metrics.read_text()
    metrics.write_text(whole[:-9])
    assert experiment.run(run).already_finished
    assert metrics.read_text() == whole


def test_a_checkpoint_of_more_training_is_evaluated_anew(copied: Path) -> None:
    experiment.evaluate(copied, k=[5], limit=10)
    content = checkpoint.load(copied / "checkpoint.pt")
    content["training"]["steps"] += 1
    content["model"]["generative.0.logits.bias"] += 0.5
    del content["format"]
    checkpoint.save(copied / "checkpoint.pt", content)
    experiment.evaluate(copied, k=[5], limit=10)
    assert len(pd.read_csv(copied / "eval.csv")["nll"].unique()) == 2


def test_the_loaded_model_gives_the_numbers_of_the_command(copied: Path) -> None:
    model = iwae_cli.load(copied)
    images = components_of(settings(copied)).source.load().test[:20]
    found = log_likelihoods(model, images, ks=[30])[0]
    assert -found.log_p.mean() == pytest.approx(
        experiment.evaluate(copied, k=[30], limit=20)[0]["nll"], abs=1e-9
    )
    assert model.posterior_means(torch.from_numpy(images)).shape == (20, 4)


@pytest.mark.parametrize("definition", ["paper", "original-code"])
def test_active_units_writes_every_variance_and_counts_as_the_paper_does(
    copied: Path, definition: Any
) -> None:
    result = experiment.active_units(copied, definition=definition, threshold=1e-4, split="test")
    table = pd.read_csv(copied / "active_units.csv")
    assert table["layer"].tolist() == [1] * 4 + [2] * 3
    counts = table[table["variance"] > 1e-4].groupby("layer").size().reindex([1, 2], fill_value=0)
    assert result["active"] == "+".join(map(str, counts))
    assert result["images"] == (400 if definition == "paper" else 500)
    assert result["split"] == ("test" if definition == "paper" else "train")


def test_check_reports_a_paired_difference_that_is_zero_when_all_units_stay(copied: Path) -> None:
    nothing = experiment.active_units(copied, threshold=-1.0, check=True, k=20, limit=15)
    assert nothing["check"]["difference"] == pytest.approx(0, abs=1e-6)
    everything = experiment.active_units(copied, threshold=1e9, check=True, k=20, limit=15)
    check = everything["check"]
    assert everything["active"] == "0+0"
    assert check["difference"] == pytest.approx(check["nll_without_inactive"] - check["nll"])
    assert abs(check["difference"]) > 1e-3


def test_training_that_diverges_stops_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    optimizer = {"name": "paper", "stages": 3, "learning_rate": 1e4}
    with pytest.raises(NonFiniteError, match="step") as caught:
        experiment.run(settings(tmp_path, optimizer=optimizer, checkpoint_seconds=0.0))
    assert "a lower optimizer.learning_rate may help" in str(caught.value)
    (folder,) = (tmp_path / "runs").iterdir()
    if (folder / "checkpoint.pt").exists():
        model = iwae_cli.load(folder)
        assert all(bool(p.isfinite().all()) for p in model.parameters())
    assert "the bound is" in (folder / "train.log").read_text()


def test_a_checkpoint_of_another_run_or_architecture_is_refused(copied: Path) -> None:
    content = checkpoint.load(copied / "checkpoint.pt")
    del content["format"]
    checkpoint.save(copied / "checkpoint.pt", {**content, "identity": "0" * 64})
    with pytest.raises(CheckpointError, match="belongs to another run"):
        experiment.run(settings(put_into_runs(copied)))
    other = {**content["config"], "arch": {"latents": [5], "hidden": [[8]]}}
    checkpoint.save(copied / "checkpoint.pt", {**content, "config": other})
    with pytest.raises(CheckpointError, match="another architecture"):
        iwae_cli.load(copied)


def put_into_runs(folder: Path) -> Path:
    """Put a run folder where a run with `outputs` as returned looks for it."""
    outputs = folder.parent / "outputs"
    (outputs / "runs").mkdir(parents=True)
    (outputs / "runs" / folder.name).symlink_to(folder)
    return outputs


def test_other_data_than_the_model_was_trained_on_is_refused(copied: Path) -> None:
    content = checkpoint.load(copied / "checkpoint.pt")
    content["config"]["dataset"]["test"] = 300
    del content["format"]
    checkpoint.save(copied / "checkpoint.pt", content)
    with pytest.raises(DataError, match="was trained on other data"):
        experiment.evaluate(copied)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": [0]}, "k must be at least 1"),
        ({"split": "tset"}, "did you mean 'test'?"),
        ({"limit": 0}, "limit must be at least 1"),
        ({"device": "tpu"}, "device=tpu: there is none"),
    ],
)
def test_bad_options_of_an_evaluation_are_named(
    trained: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        experiment.evaluate(trained, **options)
    assert message in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_cuda_where_there_is_none_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="device=cuda: there is none on this machine"):
        experiment.validate(settings(tmp_path, device="cuda"))
    assert not list(tmp_path.iterdir())


def test_faults_of_all_components_come_together(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        experiment.validate(
            settings(tmp_path, objective={"name": "iwea"}, optimizer={"name": "fast", "passes": 0})
        )
    assert "did you mean 'iwae'?" in str(caught.value)
    assert "passes must be at least 1" in str(caught.value)


@pytest.mark.slow
def test_iwae_beats_vae_on_digits_with_more_active_units(tmp_path: Path) -> None:
    """The paper's pattern; the difference is paired over the same 400 images and noise."""
    log_p, active = [], []
    for name, k in (("iwae", 50), ("vae", 1)):
        run = settings(
            tmp_path,
            arch={},
            objective={"name": name},
            k=k,
            optimizer={"name": "paper", "stages": 6},
            threads=None,
        )
        folder = experiment.run(run).folder
        experiment.evaluate(folder)
        with np.load(folder / "per_image.npz") as per_image:
            log_p.append(per_image["test_k5000_n400_seed0"])
        active.append(experiment.active_units(folder)["layers"][0])
    difference = log_p[0] - log_p[1]
    assert difference.mean() > 3 * difference.std(ddof=1) / np.sqrt(len(difference))
    assert active[0] > active[1]
