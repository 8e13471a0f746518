"""Statistics of gradients against theory, and the command that measures them on a trained run."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner, Result
from linear_gaussian import LinearGaussian, linear_iwae

from iwae_cli import objectives
from iwae_cli.cli.main import main
from iwae_cli.core import config
from iwae_cli.core.errors import ConfigError
from iwae_cli.evaluation.gradients import Moments, gradient_statistics, gradients
from iwae_cli.reports.figures.gradients import gradient_figure
from iwae_cli.training import run as training

KS = [8, 32, 128]


@pytest.fixture(scope="module")
def linear() -> pd.DataFrame:
    """The linear-Gaussian model with an encoder that is off, 25 copies of 8 images."""
    named = {name: objectives.find(name)() for name in ("iwae", "dreg", "stl")}
    x = LinearGaussian().images(8).repeat(25, 1)
    model = linear_iwae(wider=1.15, shift=0.5)
    return pd.DataFrame(gradient_statistics(model, x, named, ks=KS, draws=400))


@pytest.mark.long
@pytest.mark.parametrize(
    ("objective", "network", "slope"),
    [
        ("iwae", "encoder", -0.5),
        ("iwae", "decoder", 0.5),
        ("dreg", "encoder", 0.5),
        ("dreg", "decoder", 0.5),
    ],
)
def test_signal_to_noise_ratio_grows_or_falls_with_k_as_theory_says(
    linear: pd.DataFrame, objective: str, network: str, slope: float
) -> None:
    """Rainforth et al. 2018 and Tucker et al. 2018: k^(-1/2) or k^(1/2)."""
    own = linear[(linear["objective"] == objective) & (linear["network"] == network)]
    found = np.polyfit(np.log(own["k"]), np.log(own["snr"]), 1)[0]
    assert found == pytest.approx(slope, abs=0.1)


@pytest.mark.long
def test_bias_is_found_in_stl_alone_and_is_null_in_the_decoder(linear: pd.DataFrame) -> None:
    """False alarm for dreg: 1e-4 at each of three k."""
    encoder = linear[linear["network"] == "encoder"].set_index("objective")
    assert (encoder.loc["stl", "bias_p"] < 1e-6).all()
    assert (encoder.loc["dreg", "bias_p"] > 1e-4).all()
    assert encoder.loc["iwae", "bias_t"].isna().all()
    decoder = linear[(linear["network"] == "decoder") & (linear["objective"] != "iwae")]
    assert (decoder["bias_norm"] == 0).all()
    assert (decoder["bias_p"] == 1).all()


def test_moments_are_those_of_the_draws() -> None:
    draws = torch.randn(50, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    draws[:, 0] = 3.0  # never varies
    moments = Moments(6)
    for draw in draws:
        moments.add(draw)
    torch.testing.assert_close(moments.mean, draws.mean(0))
    torch.testing.assert_close(moments.variance, draws.var(0))
    squared = draws.mean(0).square() - draws.var(0) / 50
    ratio = (squared[1:].clamp(min=0) / draws.var(0)[1:]).sqrt()
    assert moments.signal_to_noise() == pytest.approx(float(ratio.median()))
    assert moments.norm() == pytest.approx(math.sqrt(squared.sum()))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    values: dict[str, Any] = {
        "arch": {"latents": [3], "hidden": [[8]]},
        "dataset": {"name": "digits"},
        "objective": {"name": "iwae"},
        "optimizer": {"name": "paper", "stages": 1},
        "k": 2,
        "threads": 1,
        "outputs": str(tmp_path_factory.mktemp("outputs")),
    }
    return training.run(config.parse(values)).folder


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments], prog_name="iwae")


def test_the_command_writes_a_table_and_a_plot(trained: Path) -> None:
    arguments = ("--objective", "vr,alpha=0.25", "--k", "1,3", "--draws", "4", "--images", "5")
    result = invoke("gradients", "--checkpoint", trained, *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)
    table = pd.read_csv(trained / "gradients.csv")
    assert len(rows) == len(table) == 2 * 2 * 2
    assert list(dict.fromkeys(table["objective"])) == ["iwae", "vr(alpha=0.25)"]
    assert set(table["images"]) == {5}
    assert (trained / "plots" / "gradients.png").read_bytes().startswith(b"\x89PNG")
    assert len(gradient_figure(table).axes) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": ["dregg"]}, "unknown objective 'dregg': did you mean 'dreg'?"),
        ({"objective": ["vr,beta=1"]}, "objective: unknown key 'beta'"),
        ({"objective": ["vr,alpha"]}, "cannot read 'alpha': parameters are written key=value"),
        ({"objective": ["jvi"], "k": [1]}, "jvi(order=1): order 1 needs k in 2..5000, got k=1"),
        ({"k": []}, "k must be at least 1"),
        ({"draws": 1}, "draws must be at least 2, got 1"),
    ],
)
def test_bad_options_are_named_before_any_work(
    trained: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        gradients(trained / "no such run", **options)
    assert message in str(caught.value)
