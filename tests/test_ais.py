"""Annealed importance sampling against exact likelihoods, from below and from above."""

import math
from functools import partial
from typing import Any

import pytest
import torch
from conftest import ARCHS, binary_images, tiny_model
from linear_gaussian import LinearGaussian, linear_iwae
from quadrature import exact_log_p
from test_conditional import by_autograd
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from iwae_cli.core.config import Arch
from iwae_cli.evaluation.ais import Annealing, adapted_steps, anneal, anneal_back, hmc_move
from iwae_cli.evaluation.chains import ImageChance
from iwae_cli.evaluation.noise_space import NoiseSpace, layers_of, noise_of
from iwae_cli.models.iwae import IWAE

SMALL = {
    "one latent": Arch(latents=[1], hidden=[[4]]),
    "two latents": Arch(latents=[2], hidden=[[4]]),
    "two layers": Arch(latents=[1, 1], hidden=[[4], []]),
}


class Chance:
    """Random numbers of chains for tests."""

    def __init__(self, images: int, size: int, seed: int = 0) -> None:
        self.images, self.size = images, size
        self.generator = torch.Generator().manual_seed(seed)
        options = {"generator": self.generator, "dtype": torch.float64}
        self.randn, self.rand = partial(torch.randn, **options), partial(torch.rand, **options)

    def normal(self, chains: int) -> Tensor:
        return self.randn(chains, self.images, self.size)

    def uniform(self, chains: int) -> Tensor:
        return self.rand(chains, self.images)


def spread_model(arch: Arch) -> IWAE:
    """Return a model whose posterior is far from its q, so that importance sampling is poor."""
    model = tiny_model(arch, pixels=12, seed=3)
    with torch.no_grad():
        for parameter in model.generative[0].parameters():
            parameter.mul_(2.0)
        for parameter in model.generative[1:].parameters():
            parameter.mul_(0.5)  # smooth enough for quadrature
    return model


def within(estimates: Tensor, exact: Tensor) -> None:
    """Check that the mean of w / p(x) over many chains is one in five standard errors (6e-7)."""
    ratio = torch.exp(estimates - exact)
    error = ratio.std() / math.sqrt(ratio.numel())
    assert abs(float(ratio.mean()) - 1) < 5 * float(error)
    assert float(error) < 0.1


def test_noise_is_found_again_from_the_latents_and_log_w_has_the_gradient_of_differences() -> None:
    model = tiny_model(Arch(latents=[3, 2], hidden=[[5], [4]]))
    x, noise = binary_images(3), Chance(3, 5).normal(4)
    latents = model.recognise(x, torch.split(noise, [3, 2], dim=-1))[0]
    torch.testing.assert_close(noise_of(model, x, latents), noise)
    space = NoiseSpace(model, x)
    slope = space.slope(noise)
    for unit in range(5):
        step = torch.zeros(5, dtype=torch.float64)
        step[unit] = 1e-5
        up, down = (space.log_w(noise + sign * step) for sign in (1, -1))
        of_prior = -noise[..., unit]
        torch.testing.assert_close((up - down) / 2e-5 + of_prior, slope.gradient[..., unit])


@pytest.mark.parametrize("name", list(ARCHS))
def test_the_gradient_written_out_is_that_of_layers_with_forward_alone(name: str) -> None:
    model = tiny_model(ARCHS[name])
    x, size = binary_images(3), sum(model.latents)
    noise = Chance(3, size).normal(4)
    ours, other = (NoiseSpace(one, x).slope(noise) for one in (model, by_autograd(model)))
    torch.testing.assert_close(other, ours)


class NoFloat64(TorchDispatchMode):
    """Refuses float64, as some devices do."""

    def __torch_dispatch__(
        self,
        function: Any,  # noqa: ANN401  (any operation)
        types: Any,  # noqa: ANN401
        args: Any = (),  # noqa: ANN401
        kwargs: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        found = function(*args, **(kwargs or {}))
        assert not (isinstance(found, Tensor) and found.dtype == torch.float64), function
        return found


def test_a_move_of_a_float32_model_needs_no_float64() -> None:
    model, x = tiny_model(ARCHS["two"]).float(), binary_images(3).float()
    chance = ImageChance(0, 0, 3, 7, x)
    with NoFloat64():  # type: ignore[no-untyped-call]  # torch says no types
        space, noise = NoiseSpace(model, x), chance.normal(4)
        work = Annealing(chains=4)
        hmc_move(space, noise, space.slope(noise), work, chance, b=0.5, step=0.1)


@pytest.mark.parametrize("name", list(SMALL))
def test_quadrature_agrees_with_itself_at_fewer_points(name: str) -> None:
    model, x = spread_model(SMALL[name]), binary_images(4, 12)
    fewer = exact_log_p(model, x, 60)
    torch.testing.assert_close(exact_log_p(model, x), fewer, rtol=0, atol=1e-2)


def test_one_temperature_is_importance_sampling() -> None:
    model, x = tiny_model(SMALL["two latents"]), binary_images(3)
    work = Annealing(temperatures=1, chains=7)
    found = anneal(model, x, work, Chance(3, 2), steps=torch.empty(0))
    torch.testing.assert_close(found, NoiseSpace(model, x).log_w(Chance(3, 2).normal(7)))


@pytest.mark.parametrize("name", list(SMALL))
def test_weights_are_unbiased_and_bound_the_exact_likelihood_from_both_sides(name: str) -> None:
    model, x = spread_model(SMALL[name]), binary_images(6, 12)
    size = sum(model.latents)
    work = Annealing(temperatures=12, chains=300, leapfrogs=4)
    steps = adapted_steps(model, x, work, Chance(6, size, seed=1))
    exact = exact_log_p(model, x)
    found = anneal(model, x, work, Chance(6, size, seed=2), steps=steps)
    within(found, exact)
    assert float((found.mean(0) - exact).mean()) < 0
    plain = NoiseSpace(model, x).log_w(Chance(6, size, seed=2).normal(300))
    assert float(plain.mean()) < float(found.mean())  # annealed: nearer than q alone


def test_the_gap_shrinks_with_the_temperatures() -> None:
    """Theory: in proportion to 1 / T once the chains keep up (Neal 2001)."""
    model, x = spread_model(SMALL["two latents"]), binary_images(6, 12)
    exact, gaps = exact_log_p(model, x), []
    for T in (2, 8, 32):
        work = Annealing(temperatures=T, chains=200, leapfrogs=4)
        steps = torch.full((T - 1,), 0.3)
        found = anneal(model, x, work, Chance(6, 2), steps=steps)
        gaps.append(float((exact - found.mean(0)).mean()))
    assert gaps[0] > 2 * gaps[1] > 4 * gaps[2] > 0


def test_linear_gaussian_truth_is_met_in_three_latents() -> None:
    model = linear_iwae(wider=1.5, shift=1.0)
    x = LinearGaussian().images(5)
    work = Annealing(temperatures=10, chains=400, leapfrogs=5)
    found = anneal(model, x, work, Chance(5, 3), steps=torch.full((9,), 0.4))
    within(found, LinearGaussian().exact_log_p(x).detach())


@pytest.mark.parametrize("name", list(SMALL))
def test_chains_from_an_exact_sample_have_weights_of_mean_one_over_p(name: str) -> None:
    model = spread_model(SMALL[name])
    size, images = sum(model.latents), 200
    latents = model.latents_of_prior(layers_of(model, Chance(images, size, seed=5).normal(1)[0]))
    uniform = torch.rand(images, 12, generator=torch.Generator().manual_seed(6)).double()
    x = (uniform < model.pixel_means(latents[0])).double().detach()
    exact = noise_of(model, x, [h.unsqueeze(0) for h in latents])
    work = Annealing(temperatures=8, chains=4, leapfrogs=4)
    steps = torch.full((7,), 0.3)
    up = anneal_back(model, x, exact, work, Chance(images, size), steps=steps)
    down = anneal(model, x, work, Chance(images, size), steps=steps)
    truth = exact_log_p(model, x)
    within(up, -truth)
    assert float((-up - truth).mean()) > 0
    assert float((down - truth).mean()) < 0


def test_a_move_keeps_the_distribution_and_its_acceptance_falls_with_the_step() -> None:
    """At b = 0 the target is N(0, I): means and variances stay, five standard errors (6e-7)."""
    model, x = tiny_model(SMALL["two latents"]), binary_images(1)
    work, chance = Annealing(chains=4000, leapfrogs=3), Chance(1, 2)
    noise = chance.normal(4000)
    space = NoiseSpace(model, x)
    slope = space.slope(noise)
    rates = []
    for step in (0.1, 0.7, 1.6):
        move = hmc_move(space, noise, slope, work, chance, b=0.0, step=step)
        rates.append(float(move.acceptance.mean()))
        assert float(move.noise.mean().abs()) < 5 / math.sqrt(8000)
        assert float(move.noise.var()) == pytest.approx(1, abs=5 * math.sqrt(2 / 8000))
        torch.testing.assert_close(move.slope.log_w, space.log_w(move.noise))
    assert rates[0] > 0.99
    assert rates[0] > rates[1] > rates[2]


@pytest.mark.parametrize("name", ["temperatures", "chains", "leapfrogs"])
def test_annealing_without_work_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        Annealing(**{name: 0})
