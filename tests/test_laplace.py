"""The Laplace proposal against exact posteriors and exact likelihoods."""

import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import numpy as np
import pytest
import torch
from conftest import ARCHS, binary_images, tiny_model
from linear_gaussian import LinearGaussian, linear_iwae
from quadrature import exact_log_p
from test_ais import SMALL, Chance, spread_model, within
from torch import Tensor

from iwae_cli.core.errors import ConfigError
from iwae_cli.evaluation.ais import Annealing
from iwae_cli.evaluation.curvature import precision_at
from iwae_cli.evaluation.evaluate import evaluate
from iwae_cli.evaluation.laplace import Laplace, laplace_of
from iwae_cli.evaluation.noise import EvaluationNoise
from iwae_cli.evaluation.noise_space import NoiseSpace
from iwae_cli.evaluation.sandwich import annealed_block, sampled_block, simulated
from iwae_cli.evaluation.trained_run import TrainedRun
from iwae_cli.models.conditional import ConditionalLayer
from iwae_cli.models.likelihoods.base import Likelihood
from iwae_cli.models.likelihoods.continuous_bernoulli import (
    ContinuousBernoulli,
    ContinuousBernoulliPixels,
)
from iwae_cli.models.likelihoods.gaussian import GaussianPixels
from iwae_cli.objectives.importance import effective_sample_size


def log_weights(proposal: Laplace, k: int, images: int) -> Tensor:
    """Return k log weights of each image, float64, [k, images]."""
    noise = EvaluationNoise(0, proposal.space.model.latents)
    return proposal.sampled_log_weights(noise, first_image=0, k=k, rows=1000 * images)


def test_on_a_linear_gaussian_model_mode_and_precision_are_the_exact_posteriors() -> None:
    truth, model = LinearGaussian(), linear_iwae(wider=1.5, shift=1.0)
    x = truth.images(4)
    proposal = laplace_of(model, x)
    exact, q = truth.posterior(x), model.recognition_layers[0](x)
    torch.testing.assert_close(q.transform(proposal.mode), exact.mean)
    precision = proposal.root @ proposal.root.mT
    expected = torch.diag_embed((2 * (q.log_std - exact.log_std)).exp())
    torch.testing.assert_close(precision, expected.detach())


@pytest.mark.parametrize("name", list(ARCHS))
def test_the_precision_is_symmetric_and_positive_definite_at_every_depth(name: str) -> None:
    model = tiny_model(ARCHS[name])
    noise = Chance(3, sum(model.latents)).normal(1)[0]
    found = precision_at(NoiseSpace(model, binary_images(3)), noise)
    torch.testing.assert_close(found, found.mT)
    assert bool((torch.linalg.eigvalsh(found) > 0).all())


def test_the_precision_of_pixels_is_the_expected_hessian() -> None:
    """Over all 2^D images at one h, exactly; one layer, q made the prior so that h is the noise."""
    model = tiny_model(ARCHS["one"], pixels=4)
    with torch.no_grad():
        for parameter in model.recognition.parameters():
            parameter.zero_()
    images = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 4).double()
    noise = torch.randn(1, 3, generator=torch.Generator().manual_seed(0)).double()
    space = NoiseSpace(model, images)
    steps, d = torch.eye(3).double(), 1e-5
    expected = torch.zeros(3, 3).double()
    probability = model.log_p_x_and_h(images, [noise.expand(1, 16, 3)])[0]
    probability = (probability - probability.logsumexp(0)).exp()
    for unit in range(3):
        up, down = (
            space.slope((noise + s * d * steps[unit]).expand(1, 16, 3)).gradient for s in (1, -1)
        )
        expected[unit] = -(probability @ (up - down)[0] / (2 * d))
    found = precision_at(NoiseSpace(model, images[:1]), noise)[0]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_samples_have_the_density_that_their_weights_assume() -> None:
    """The mean of N(e; 0, I) / r(e) is one, five standard errors (6e-7)."""
    model, x = tiny_model(ARCHS["two"]), binary_images(2)
    proposal = laplace_of(model, x)
    log_w = log_weights(proposal, 4000, 2)
    noise = EvaluationNoise(0, model.latents)
    normal = torch.cat(noise.draw(0, 2, 0, 16), dim=-1).double()
    extra = noise.mixture(0, 2, 0, 4000, 5)
    drawn = proposal.draw(normal, *(numbers.double() for numbers in extra))
    ratio = (-0.5 * drawn.square().sum(-1) - 3.5 * math.log(2 * math.pi)).double()
    ratio = (ratio - proposal.log_density(drawn)).exp()
    error = float(ratio.std()) / math.sqrt(8000)
    assert abs(float(ratio.mean()) - 1) < 5 * error < 0.2
    torch.testing.assert_close(proposal.log_weights(drawn), log_w)


@pytest.mark.parametrize("name", list(SMALL))
def test_the_weights_are_unbiased_and_their_bound_is_below_and_nearer_than_that_of_q(
    name: str,
) -> None:
    model, x = spread_model(SMALL[name]), binary_images(6, 12)
    exact = exact_log_p(model, x)
    log_w = log_weights(laplace_of(model, x), 2000, 6)
    within(log_w, exact)
    q = NoiseSpace(model, x).log_w(Chance(6, sum(model.latents)).normal(2000))
    assert float(effective_sample_size(log_w).mean()) > float(effective_sample_size(q).mean())
    gaps = []
    for k in (1, 4, 16):
        groups = log_w.unflatten(0, (-1, k)).logsumexp(1) - math.log(k)
        gaps.append(float((exact - groups).mean()))
    assert gaps[0] > 2 * gaps[1] > 4 * gaps[2] > 0  # theory: 1 / k in the limit


@pytest.mark.parametrize("name", ["two latents", "two layers"])
def test_exact_log_p_is_between_its_bounds_on_simulated_images(name: str) -> None:
    """Bounds of a mean over 300 images, within four standard errors; false alarm 3e-5."""
    model = spread_model(SMALL[name])
    run = cast(TrainedRun, SimpleNamespace(model=model))
    x, exact = simulated(run, 300, seed=0)
    lower, upper = sampled_block(run, x, exact, 0, 20, seed=0, laplace=True)
    of_q = sampled_block(run, x, exact, 0, 20, seed=0)
    truth = exact_log_p(model, x)
    for bound in (truth - lower, upper - truth):
        assert float(bound.mean()) > -4 * float(bound.std()) / math.sqrt(300)
    assert float((upper - lower).mean()) < float((of_q[1] - of_q[0]).mean())


@pytest.mark.parametrize("annealed", [False, True], ids=["laplace", "ais"])
@pytest.mark.parametrize(
    "likelihood",
    [GaussianPixels(), GaussianPixels(std=0.5), ContinuousBernoulliPixels()],
    ids=["gaussian", "fixed gaussian", "continuous bernoulli"],
)
def test_other_likelihoods_have_bounds_from_both_sides_too(
    likelihood: Likelihood, annealed: bool
) -> None:
    model = tiny_model(SMALL["two layers"], pixels=8, likelihood=likelihood)
    with torch.no_grad():
        for parameter in model.recognition.parameters():
            parameter.mul_(0.2)  # q near the prior, far from the posterior
    run = cast(TrainedRun, SimpleNamespace(model=model))
    x, exact = simulated(run, 200, seed=0)
    truth = exact_log_p(model, x)
    work, steps = Annealing(temperatures=8, chains=4, leapfrogs=3), torch.full((7,), 0.2)
    found = (
        annealed_block(run, x, exact, 0, work, steps, seed=0)
        if annealed
        else sampled_block(run, x, exact, 0, 20, seed=0, laplace=True)
    )
    for bound in (truth - found[0], found[1] - truth):
        assert float(bound.mean()) > -4 * float(bound.std()) / math.sqrt(200)
    if not annealed:
        assert float((found[1] - found[0]).mean()) < 1  # by samples of q it is above 2


def test_the_fisher_information_of_the_continuous_bernoulli_is_its_variance() -> None:
    logits = torch.tensor([-30.0, -3, -0.6, -0.4, 0, 1e-3, 0.49, 0.51, 8]).double()
    logits.requires_grad_()
    p = ContinuousBernoulli(logits)
    (slope,) = torch.autograd.grad(p.mean.sum(), logits)
    torch.testing.assert_close(p.fisher_information().logits, slope, rtol=1e-8, atol=1e-10)


def test_its_rows_stand_beside_those_of_q_and_do_not_depend_on_batches(copied: Path) -> None:
    row = evaluate(copied, proposal="laplace", k=[40, 300], limit=20)[1]
    assert (row["estimator"], row["bound_kind"]) == ("L_k(proposal=laplace)", "lower")
    assert math.isnan(row["negative_elbo"])
    assert 0 <= row["share_khat_above_0.7"] <= 1
    evaluate(copied, proposal="laplace", k=[40], limit=3)
    assert evaluate(copied, k=[300], limit=20)[0]["nll"] != row["nll"]
    with np.load(copied / "per_image.npz") as found:
        whole = found["test_k40_n20_seed0_L_k(proposal=laplace)"]
        np.testing.assert_allclose(
            found["test_k40_n3_seed0_L_k(proposal=laplace)"], whole[:3], rtol=1e-4
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"proposal": "laplac"}, "did you mean 'laplace'"),
        ({"estimator": "jvi"}, "the proposal laplace is for L_k, not for 'jvi'"),
        ({"estimator": "ais"}, "the proposal laplace is for L_k, not for 'ais'"),
    ],
)
def test_what_it_is_not_for_is_refused_before_any_work(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        evaluate("no such run", **{"proposal": "laplace", **options})


class Cauchy(NamedTuple):
    """A density without a Fisher information of its own."""

    center: Tensor

    def log_density(self, values: Tensor) -> Tensor:
        return -torch.log1p((values - self.center).square()).sum(-1)


class CauchyLayer(ConditionalLayer[Cauchy]):
    def forward(self, inputs: Tensor) -> Cauchy:
        return Cauchy(inputs)


def test_a_likelihood_without_curvature_is_refused() -> None:
    model = tiny_model(ARCHS["one"], pixels=3)
    model.generative[0] = CauchyLayer()
    with pytest.raises(ConfigError, match="needs a Fisher information, and Cauchy has none"):
        laplace_of(model, binary_images(2, 3))
