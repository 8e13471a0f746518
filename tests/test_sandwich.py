"""Bounds from both sides on simulated images, against quadrature."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from click.testing import CliRunner
from conftest import tiny_model
from quadrature import exact_log_p

from iwae_cli.cli.main import main
from iwae_cli.core.config import Arch
from iwae_cli.evaluation.sandwich import sampled_block, sandwich, simulated, upper_bound
from iwae_cli.evaluation.trained_run import TrainedRun


@pytest.mark.parametrize(
    "arch",
    [Arch(latents=[2], hidden=[[4]]), Arch(latents=[1, 1], hidden=[[4], []])],
    ids=["1", "2"],
)
def test_exact_log_p_is_between_the_bounds_and_the_gap_shrinks_like_one_over_k(arch: Arch) -> None:
    """Bounds of a mean over 400 images, within four standard errors; false alarm 3e-5."""
    model = tiny_model(arch, pixels=12, seed=3)
    run = cast(TrainedRun, SimpleNamespace(model=model))
    x, exact = simulated(run, 400, seed=0)
    truth, gaps = exact_log_p(model, x), []
    for k in (1, 10, 100):
        lower, upper = sampled_block(run, x, exact, 0, k, seed=0)
        for bound in (truth - lower, upper - truth):
            assert float(bound.mean()) > -4 * float(bound.std()) / 20
        gaps.append(float((upper - lower).mean()))
    assert gaps[0] > 4 * gaps[1] > 8 * gaps[2] > 0


def test_the_upper_bound_replaces_one_sample_by_the_exact_one() -> None:
    log_w = torch.tensor([[1.0], [2.0], [3.0]]).double()
    found = upper_bound(log_w, torch.tensor([[4.0]]).double())
    expected = torch.tensor([4.0, 1.0, 2.0]).double().exp().mean().log()
    assert float(found) == pytest.approx(float(expected))


def test_annealing_from_both_ends_narrows_the_gap(copied: Path) -> None:
    plain = sandwich(copied, images=60, k=3)
    annealed = sandwich(copied, images=60, estimator="ais,temperatures=20,chains=3,leapfrogs=3")
    assert plain["lower"] < annealed["lower"] < annealed["upper"] < plain["upper"]
    assert annealed["gap"] < plain["gap"] / 2
    assert not (copied / "eval.csv").exists()


def evaluated(*arguments: str | Path) -> Any:
    return CliRunner().invoke(main, ["eval", *map(str, arguments)])


def test_the_command_says_that_its_images_are_simulated(copied: Path) -> None:
    asked = (copied, "--sandwich", "--limit", "20", "--k", "5")
    assert "images drawn from the model itself" in evaluated(*asked).output
    (row,) = json.loads(evaluated(*asked, "--json").output)
    assert row["gap"] == pytest.approx(row["upper"] - row["lower"])
    assert row["images"] == "20 simulated"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "valid"], "--split is for the images of a data set, not for --sandwich"),
        (["--k", "1,2"], "--sandwich takes one --k"),
        (["--data", "a.npy"], "--sandwich draws its images from the model"),
        (["--estimator", "jvi"], "the sandwich is for L_k and ais, not for 'jvi'"),
    ],
)
def test_what_has_no_upper_bound_is_refused(
    copied: Path, arguments: list[str], message: str
) -> None:
    done = evaluated(copied, "--sandwich", *arguments)
    assert done.exit_code != 0
    assert message in f"{done.output}{done.exception}"
