import math
from typing import cast

import numpy as np
import pytest
import torch
from conftest import ARCHS, tiny_model
from linear_gaussian import LinearGaussian

from iwae_cli import objectives
from iwae_cli.core.config import Arch
from iwae_cli.data.binarisation import DYNAMIC, FIXED
from iwae_cli.evaluation import likelihood
from iwae_cli.evaluation.likelihood import Likelihood, log_likelihoods
from iwae_cli.evaluation.noise import BLOCK, EvaluationNoise
from iwae_cli.models.iwae import IWAE
from iwae_cli.objectives.importance import log_mean_exp

KS = [1, 10, 100, 1000, 5000]


def grey_images(count: int, pixels: int = 7) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.random.default_rng(0).random((count, pixels), np.float32)


def estimates(count: int, ks: list[int], seed: int = 0) -> list[Likelihood]:
    model = LinearGaussian()
    noise = EvaluationNoise(seed, model.latents)
    images = model.images(count).numpy()
    return log_likelihoods(cast(IWAE, model), images, ks=ks, noise=noise, binarisation=FIXED)


def test_the_linear_gaussian_model_has_the_posterior_that_its_weights_say() -> None:
    model = LinearGaussian(wider=1.0, shift=0.0)
    x = model.images(4)
    noise = torch.randn(8, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    log_w = model.importance_sample(x, (noise,)).log_w
    torch.testing.assert_close(log_w, model.exact_log_p(x).expand(8, 4))


def test_bound_rises_with_k_and_stays_below_the_exact_log_likelihood() -> None:
    found = estimates(400, KS)
    model = LinearGaussian()
    exact = float(model.exact_log_p(model.images(400)).detach().mean())
    bounds = [-e.summary()["nll"] for e in found]
    assert bounds[0] < bounds[1] < bounds[2] < exact
    # closer to the limit, within five Monte Carlo standard errors
    assert all(-e.summary()["nll"] < exact + 5 * e.summary()["se_mc"] for e in found[3:])


def test_gap_to_the_exact_log_likelihood_shrinks_like_one_over_k() -> None:
    """With R = p-hat / p, whose mean is exactly one, the gap -E[log R] is E[R - 1 - log R]."""
    ks = [16, 32, 64, 128, 256]
    model = LinearGaussian()
    exact = model.exact_log_p(model.images(400)).detach().numpy()
    gaps = np.zeros(len(ks))
    for seed in range(20):
        for i, e in enumerate(estimates(400, ks, seed)):
            gaps[i] += np.mean(np.expm1(e.log_p - exact) - (e.log_p - exact)) / 20
    slope = np.polyfit(np.log(ks), np.log(gaps), 1)[0]
    assert slope == pytest.approx(-1, abs=0.1)


@pytest.mark.parametrize("k", [50, 5000])
def test_estimate_differs_from_the_truth_by_its_stated_bias_within_four_standard_errors(
    k: int,
) -> None:
    """False alarm: four standard errors of a normal, 6e-5."""
    model = LinearGaussian()
    exact = -float(model.exact_log_p(model.images(400)).detach().mean())
    row = estimates(400, [k])[0].summary()
    assert abs(row["nll"] - row["bias"] - exact) < 4 * row["se_mc"]
    assert row["bias"] == pytest.approx(0.5 * row["se_mc"] ** 2 * 400, rel=1e-6)


def test_stated_monte_carlo_error_is_the_spread_over_seeds() -> None:
    """Standard deviation of 60 seeds: 9 % relative error, so 35 % is beyond 3 of them."""
    rows = [estimates(50, [200], seed)[0].summary() for seed in range(60)]
    spread = np.std([row["nll"] for row in rows], ddof=1)
    assert np.mean([row["se_mc"] for row in rows]) == pytest.approx(spread, rel=0.35)


def test_the_jackknife_is_nearer_to_the_truth_than_l_k_by_far() -> None:
    """At k = 20 the bias of L_k is about 20 standard errors of the paired difference."""
    model = LinearGaussian(wider=1.5, shift=0.8)
    images = model.images(400)
    exact = model.exact_log_p(images).detach().numpy()
    jackknife = objectives.find("jvi")()
    gaps = []
    for estimate in (log_mean_exp, jackknife.bound):
        found = log_likelihoods(
            cast(IWAE, model), images.numpy(), ks=[20], binarisation=FIXED, estimate=estimate
        )
        gaps.append(float(np.mean(exact - found[0].log_p)))
    assert gaps[0] > 0.01
    assert abs(gaps[1]) < gaps[0] / 3


@pytest.mark.parametrize("arch", list(ARCHS))
def test_batch_and_chunk_sizes_change_the_result_by_rounding_alone(arch: str) -> None:
    model, images = tiny_model(ARCHS[arch]), grey_images(9)
    ks = [1, 7, BLOCK, BLOCK + 50]
    large = log_likelihoods(model, images, ks=ks)
    for memory_bytes in (1, 10_000, 300_000):
        small = log_likelihoods(model, images, ks=ks, memory_bytes=memory_bytes)
        for one, other in zip(large, small, strict=True):
            np.testing.assert_allclose(one.log_p, other.log_p, rtol=1e-12)
            np.testing.assert_allclose(one.ess, other.ess, rtol=1e-9)


def test_in_bfloat16_few_rows_at_once_give_what_many_do() -> None:
    """All of them are multiplied in bfloat16, which is far from float32 here."""
    wide = Arch(latents=[6], hidden=[[64, 64]])
    model = tiny_model(wide, pixels=30).float()
    images, ks = grey_images(80, 30), [1, 8]
    exact = log_likelihoods(model, images, ks=ks)
    model.multiply_in(torch.bfloat16)
    many = log_likelihoods(model, images, ks=ks)
    for memory_bytes in (1, 20_000):
        few = log_likelihoods(model, images, ks=ks, memory_bytes=memory_bytes)
        for one, other, true in zip(many, few, exact, strict=True):
            rounding = np.abs(one.log_p - true.log_p)
            assert np.abs(one.log_p - other.log_p).max() < 0.01 * rounding.max()


@pytest.mark.parametrize("products", [None, torch.bfloat16], ids=["float32", "bfloat16"])
def test_images_side_by_side_give_what_they_give_one_after_another(
    products: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, images = tiny_model(ARCHS["two"]).float().multiply_in(products), grey_images(9)
    alone = log_likelihoods(model, images, ks=[2 * BLOCK])[0]
    for workers in (2, 5):
        monkeypatch.setattr(likelihood, "workers_for", lambda _, n=workers: n)
        found = log_likelihoods(model, images, ks=[2 * BLOCK])[0]
        np.testing.assert_allclose(found.log_p, alone.log_p, rtol=1e-6)
        np.testing.assert_allclose(found.ess, alone.ess, rtol=1e-4)


def test_an_image_and_a_k_alone_give_what_they_give_among_others() -> None:
    model, images = tiny_model(ARCHS["two"]), grey_images(6)
    together = log_likelihoods(model, images, ks=[3, 400])
    fewer = log_likelihoods(model, images[:2], ks=[3])
    np.testing.assert_allclose(fewer[0].log_p, together[0].log_p[:2], rtol=1e-12)


def test_another_seed_gives_other_noise_and_another_binarisation() -> None:
    grey = np.full((2, 400), 0.5, np.float32)
    first, second = EvaluationNoise(0, [3]), EvaluationNoise(1, [3])
    assert (first.binarise(grey, 0, DYNAMIC) != second.binarise(grey, 0, DYNAMIC)).mean() > 0.3
    assert not torch.allclose(first.draw(0, 1, 0)[0], second.draw(0, 1, 0)[0])
    assert not torch.allclose(first.draw(0, 1, 0)[0], first.draw(0, 1, 1)[0])
    assert not torch.allclose(first.draw(0, 1, 0)[0], first.draw(1, 1, 0)[0])


def test_evaluation_noise_is_standard_normal_and_binarisation_has_the_grey_values_mean() -> None:
    """Five standard errors each; false alarm 6e-7."""
    noise = EvaluationNoise(0, [20]).draw(0, 20, 0)[0]
    assert abs(float(noise.mean())) < 5 / math.sqrt(noise.numel())
    assert float(noise.var()) == pytest.approx(1, abs=5 * math.sqrt(2 / noise.numel()))
    grey = np.tile(np.array([0.0, 0.2, 0.9, 1.0], np.float32), (4000, 1))
    mean = EvaluationNoise(0, [1]).binarise(grey, 0, DYNAMIC).mean(0)
    assert mean[0] == 0
    assert mean[3] == 1
    np.testing.assert_allclose(mean[1:3], [0.2, 0.9], atol=5 * 0.4 / math.sqrt(4000))


def test_summary_counts_images_with_few_samples_and_hides_what_one_weight_cannot_say() -> None:
    values = np.array([-80.0, -90.0])
    k_hat, lacking = np.array([0.2, 0.9]), np.array([0.1, 0.3])
    ess = np.array([5.0, 50.0])
    row = Likelihood(100, values, values - 1, ess, k_hat, lacking, seconds=2.0).summary()
    assert row["nll"] == 85
    assert row["negative_elbo"] == 86
    assert row["share_ess_below_10"] == 0.5
    assert row["se_images"] == pytest.approx(5.0)
    assert row["se_mc"] == pytest.approx(math.sqrt(0.19 + 0.01) / 2)
    assert row["bias"] == pytest.approx(0.05)
    assert row["samples_per_second"] == 100
    assert row["share_khat_above_0.7"] == 0.5
    assert row["bias_jackknife"] == pytest.approx(0.2)
    none = np.full(2, math.nan)
    one = Likelihood(1, values, values, np.ones(2), none, none, seconds=1.0).summary()
    assert math.isnan(one["share_khat_above_0.7"])
    assert math.isnan(one["se_mc"])
    assert math.isnan(one["bias"])
