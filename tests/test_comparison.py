"""Objectives trained alike: a table and a figure beside iwae."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from run_folders import copy_of, write_table

from iwae_cli.core import config
from iwae_cli.evaluation.active_units import active_units
from iwae_cli.evaluation.evaluate import evaluate
from iwae_cli.reports.figures.objectives import comparison_figure
from iwae_cli.reports.report import report_of, texts
from iwae_cli.runs.folder import RunFolder
from iwae_cli.training import run as training

SETTINGS: dict[str, Any] = {
    "arch": {"latents": [3], "hidden": [[8]]},
    "dataset": {"name": "digits"},
    "objective": {"name": "iwae"},
    "optimizer": {"name": "paper", "stages": 1},
    "k": 4,
    "threads": 1,
}
GAINS = {"vae": -0.5, "dreg": 0.25, "stl": 0.0}


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """A run of iwae, and copies that say they are other objectives, better by GAINS."""
    run = training.run(config.parse({**SETTINGS, "outputs": str(tmp_path)})).folder
    evaluate(run, k=[20])
    evaluate(run, k=[20], estimator="jvi")
    active_units(run)
    noise = np.random.default_rng(0).normal(0, 0.1, 400)
    for name, gain in GAINS.items():
        folder = RunFolder(copy_of(run, f"{name}-copy", objective={"name": name}))
        arrays = folder.read_per_image()
        table = pd.read_csv(folder.evaluations)
        table.loc[table["estimator"] == "L_k", "nll"] -= gain
        arrays["test_k20_n400_seed0"] += gain + noise - noise.mean()
        np.savez_compressed(folder.per_image, allow_pickle=False, **arrays)
        write_table(folder.evaluations, table)
    return tmp_path


def test_each_objective_stands_beside_iwae_with_its_paired_difference(outputs: Path) -> None:
    report = report_of(outputs)
    table = report.compared
    assert list(table["objective"]) == ["dreg", "iwae", "stl", "vae"]
    own = table.set_index("objective")
    for name, gain in GAINS.items():
        assert own.loc[name, "gain"] == pytest.approx(gain, abs=1e-9)
        assert own.loc[name, "se"] == pytest.approx(0.005, rel=0.15)
        assert own.loc[name, "nll"] == pytest.approx(own.loc["iwae", "nll"] - gain)
    assert own.loc["iwae", "gain"] == 0
    assert (own["images"] == 400).all()
    assert (own["seconds"] > 0).all()
    files = dict(texts(report))
    assert {"objectives.csv", "objectives.md"} <= set(files)
    labels = [text.get_text() for text in comparison_figure(table).axes[0].get_yticklabels()]
    assert labels == ["VAE", "STL", "IWAE", "DReG"]


def test_two_objectives_are_no_comparison(outputs: Path) -> None:
    for path in (outputs / "runs").glob("*-copy"):
        if not path.name.startswith("vae"):
            (path / "config.yaml").unlink()
    assert not len(report_of(outputs).compared)
