"""Likelihoods of grey and real values: densities, gradients, exact answers, refusals."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import settings, tiny_model
from linear_gaussian import LATENTS, PIXELS, SIGMA, LinearGaussian, LinearRecognition, linear_iwae
from scipy.integrate import quad
from torch import Tensor, nn

from iwae_cli import objectives
from iwae_cli.core.config import Arch
from iwae_cli.core.errors import ConfigError
from iwae_cli.models import likelihoods
from iwae_cli.models.initialisation import initialise
from iwae_cli.models.iwae import IWAE, uniform_shape
from iwae_cli.models.likelihoods.base import Likelihood
from iwae_cli.models.likelihoods.continuous_bernoulli import ContinuousBernoulli
from iwae_cli.models.likelihoods.dense import DensePixels
from iwae_cli.models.likelihoods.gaussian import GaussianPixels
from iwae_cli.training.components import components_of, identity_parts, validate
from iwae_cli.training.resolve import prepare

OTHERS = [
    likelihoods.find({"name": "continuous_bernoulli"}),
    likelihoods.find({"name": "gaussian"}),
    likelihoods.find({"name": "gaussian", "std": 0.3}),
]
IDS = ["continuous Bernoulli", "Gaussian", "Gaussian of fixed noise"]
TWO = Arch(latents=[4, 3], hidden=[[6], [5]])


def grey_images(count: int, pixels: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, pixels, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("all_rows", [True, False], ids=["all rows", "lottery"])
@pytest.mark.parametrize("objective", ["iwae", "dreg"])
@pytest.mark.parametrize("likelihood", OTHERS, ids=IDS)
def test_gradients_written_out_are_those_of_autograd(
    likelihood: Likelihood, objective: str, all_rows: bool
) -> None:
    """Beside a layer with the same density and `forward` alone."""
    model, other = (tiny_model(TWO, likelihood=likelihood) for _ in range(2))
    layer = other.generative[0]
    assert isinstance(layer, DensePixels)
    base = DensePixels.__mro__[1]
    plain = type("Plain", (type(layer),), {n: vars(base)[n] for n in DERIVATIVES})
    layer.__class__ = plain
    x, k = grey_images(5), 6
    generator = torch.Generator().manual_seed(3)
    noise, estimator = model.draw_noise(k, len(x), generator), objectives.find(objective)()
    shape = uniform_shape(estimator, k=k, images=len(x), all_rows=all_rows)
    uniform = None if shape is None else torch.rand(shape, generator=generator)
    found = [
        one.gradients(x, noise, estimator, all_rows=all_rows, uniform=uniform)
        for one in (model, other)
    ]
    torch.testing.assert_close(found[0].bound, found[1].bound)
    for ours, theirs in zip(found[0].parameters, found[1].parameters, strict=True):
        torch.testing.assert_close(ours, theirs)


DERIVATIVES = ("log_density", "log_density_backward")


@pytest.mark.parametrize("likelihood", OTHERS, ids=IDS)
def test_a_density_integrates_to_one_and_has_its_mean(likelihood: Likelihood) -> None:
    layer = tiny_model(TWO, pixels=1, likelihood=likelihood).generative[0]
    with torch.no_grad():
        p = layer(torch.tensor([[0.3, -1.0, 2.0, 0.5]], dtype=torch.float64))
    low, high = (-8.0, 8.0) if likelihood.real else (0.0, 1.0)

    def density(x: float) -> float:
        return float(p.log_density(torch.tensor([[x]], dtype=torch.float64)).exp())

    assert quad(density, low, high)[0] == pytest.approx(1, abs=1e-7)
    mean = quad(lambda x: x * density(x), low, high)[0]
    assert float(p.mean) == pytest.approx(mean, abs=1e-7)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("offset", [0.0, 1e-12, -1e-8, 1e-6, -1e-4, 1e-3, 0.02, -0.12, 0.13, 0.49])
def test_the_continuous_bernoulli_constant_is_the_integral(
    offset: float, dtype: torch.dtype
) -> None:
    """At lambda = 1/2, where the usual formula is 0/0, near it, and beyond the series."""
    logit = math.log((0.5 + offset) / (0.5 - offset))
    p = ContinuousBernoulli(torch.tensor([logit], dtype=dtype))
    constant = quad(lambda x: math.exp(logit * x), 0, 1, epsabs=1e-13)[0]
    mean = quad(lambda x: x * math.exp(logit * x), 0, 1, epsabs=1e-13)[0] / constant
    assert float(p.log_normaliser()) == pytest.approx(math.log(constant), abs=1e-6)
    assert float(p.mean) == pytest.approx(mean, abs=1e-6)
    theirs = torch.distributions.ContinuousBernoulli(logits=torch.tensor([logit]).double())
    x = torch.tensor([0.3], dtype=dtype)
    assert float(p.log_density(x)) == pytest.approx(float(theirs.log_prob(x)), abs=1e-6)


@pytest.mark.parametrize("size", [30.0, 300.0, 1e4])
def test_the_constant_of_nearly_black_and_white_pixels_is_exact(size: float) -> None:
    """Z(-l) = (1 - e^-l) / l, and Z(l) = e^l Z(-l); torch's own is nats off beyond 36."""
    p = ContinuousBernoulli(torch.tensor([-size, size]))
    expected = [-math.log(size), size - math.log(size)]
    assert p.log_normaliser().tolist() == pytest.approx(expected, rel=1e-6)
    assert p.mean.tolist() == pytest.approx([1 / size, 1 - 1 / size], rel=1e-6)


def test_continuous_bernoulli_pixels_are_drawn_with_their_mean() -> None:
    logits = torch.tensor([-30.0, -2.0, -1e-4, 0.0, 0.5, 3.0, 100.0]).double()
    uniform = (torch.arange(200_000).double() + 0.5).unsqueeze(-1) / 200_000
    p = ContinuousBernoulli(logits)
    torch.testing.assert_close(p.draw(uniform).mean(0), p.mean, atol=1e-5, rtol=0)


def test_fixed_gaussian_noise_gives_the_exact_linear_gaussian_likelihood() -> None:
    """x = W h + b + sigma e with the exact posterior: every weight is p(x) itself."""
    exact = LinearGaussian()
    model = IWAE(PIXELS, Arch(latents=[LATENTS], hidden=[[]]), GaussianPixels(std=SIGMA)).double()
    layer = model.generative[0]
    layer.get_parameter("mean.weight").data.copy_(exact.W)
    layer.get_parameter("mean.bias").data.copy_(exact.b)
    recognition = linear_iwae(wider=1.0, shift=0.0).recognition[0]
    assert isinstance(recognition, LinearRecognition)
    model.recognition = nn.ModuleList([recognition])
    x = exact.images(5)
    noise = model.draw_noise(3, 5, torch.Generator().manual_seed(0))
    log_w = model.importance_sample(x, noise).log_w
    torch.testing.assert_close(log_w, exact.exact_log_p(x).expand(3, 5))


@pytest.mark.parametrize("likelihood", OTHERS, ids=IDS)
def test_the_output_bias_starts_at_the_mean_and_deviation_of_the_data(
    likelihood: Likelihood,
) -> None:
    model = IWAE(3, TWO, likelihood).double()
    mean, std = torch.tensor([0.05, 0.5, 0.8]), torch.tensor([0.1, 0.2, 0.3])
    generator = torch.Generator().manual_seed(0)
    initialise(model, "glorot", generator=generator, mean_image=mean, std_image=std)
    layer = model.generative[0]
    for head in layer.heads():  # type: ignore[operator]  # of a dense layer
        head.weight.data.zero_()
    with torch.no_grad():
        p = layer(torch.zeros(4, dtype=torch.float64))
    torch.testing.assert_close(p.mean, mean.double(), atol=1e-6, rtol=0)
    if likelihood == OTHERS[1]:
        torch.testing.assert_close(p.log_std.exp(), std.double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("likelihood", OTHERS, ids=IDS)
def test_fisher_labels_are_drawn_from_the_density(likelihood: Likelihood) -> None:
    """The derivative of the log density at its own labels has mean 0 and E[g^2] = -E[g']."""
    layer = tiny_model(TWO, pixels=2, likelihood=likelihood).generative[0]
    assert isinstance(layer, DensePixels)
    n = 100_000
    outputs = layer.outputs_of(torch.tensor([[0.3, -1.0, 2.0, 0.5]]).double())[0].detach()
    many = outputs.expand(n, -1)
    labels = layer.draw(many, torch.Generator().manual_seed(0))
    slopes = layer.slopes(many, labels)
    step = 1e-4
    for i in range(outputs.shape[1]):
        moved = [many.clone() for _ in range(2)]
        moved[0][:, i] += step
        moved[1][:, i] -= step
        up, down = (layer.slopes(one, labels)[:, i] for one in moved)
        information = -((up - down) / (2 * step)).mean()
        own = slopes[:, i]
        # six standard errors: a false alarm in 1e8 runs
        assert abs(float(own.mean())) < 6 * float(own.std()) / math.sqrt(n)
        error = 6 * float(own.square().std()) / math.sqrt(n) + 0.01 * float(information)
        assert float(own.square().mean()) == pytest.approx(float(information), abs=error)


def test_learned_noise_stays_above_its_least() -> None:
    layer = GaussianPixels(min_std=0.05).layer(2, [], 1)
    p = layer.distribution(torch.tensor([[0.0, -200.0], [0.0, 1.0]]))
    assert p.log_std.exp().flatten().tolist() == pytest.approx([0.05, 0.05 + math.e])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "gausian"}, "did you mean 'gaussian'"),
        ({"name": "gaussian", "std": 0.0}, "std must be positive"),
        ({"name": "gaussian", "min_std": -1}, "min_std must be positive"),
        ({"name": "bernoulli", "std": 1.0}, "unknown key 'std'"),
    ],
)
def test_a_likelihood_that_cannot_be_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        likelihoods.find(values)


def test_values_that_a_likelihood_cannot_have_are_refused_before_training(tmp_path: Path) -> None:
    np.save(tmp_path / "binary.npy", np.eye(8, dtype=np.uint8))
    data = {"name": "arrays", "train": str(tmp_path / "binary.npy"), "test": 2}
    run = settings(tmp_path, dataset=data, likelihood={"name": "continuous_bernoulli"})
    with pytest.raises(ConfigError, match="every pixel of binary is 0 or 1.*=bernoulli"):
        prepare(run)


def test_identities_of_likelihoods_differ_and_bernoulli_is_no_part_of_one(tmp_path: Path) -> None:
    """Versions before 0.3 knew of no likelihood, and no activation."""
    names = ("bernoulli", "continuous_bernoulli", "gaussian")
    named: list[dict[str, Any]] = [{"name": name} for name in names]
    named.append({"name": "gaussian", "std": 0.1})
    found = [prepare(settings(tmp_path, likelihood=one)).identity for one in named]
    assert len(set(found)) == len(named)
    assert found[0] == prepare(settings(tmp_path)).identity
    parts = identity_parts(settings(tmp_path), components_of(settings(tmp_path)))
    assert "likelihood" not in parts
    assert "activation" not in parts["arch"]


def test_both_stages_must_have_one_likelihood(tmp_path: Path) -> None:
    parent = {"likelihood": {"name": "gaussian"}}
    with pytest.raises(ConfigError, match=r"init_from\.likelihood"):
        validate(settings(tmp_path, init_from=parent))
