"""The row lottery and the kernel behind it against gradients of all rows and against float64.

Unbiasedness by the paired statistics of test_unbiasedness.py; its false-alarm rate holds.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ARCHS, binary_images, tiny_model
from linear_gaussian import LinearGaussian, linear_iwae
from torch import Tensor
from torch.distributions import Bernoulli

from iwae_cli import objectives
from iwae_cli.data.binarisation import FIXED
from iwae_cli.evaluation.gradients import Moments
from iwae_cli.models import bernoulli_kernel, cores
from iwae_cli.models.bernoulli_kernel import bernoulli_log_densities
from iwae_cli.models.iwae import IWAE, Gradients
from iwae_cli.models.row_lottery import (
    MULTIPLE,
    ample_capacity,
    draw,
    draw_one,
    expected_rows,
    keep_probabilities,
)
from iwae_cli.objectives.base import Objective, Weights
from iwae_cli.objectives.importance import effective_sample_size, normalised_weights
from iwae_cli.training.step import Update

K, IMAGES, COPIES, BATCHES, PROJECTIONS, LIMIT = 6, 2, 50, 150, 8, 4.5
NAMES = ["iwae", "dreg", "rws", "piwae", "stl", "vae"]


def find(name: str) -> Objective:
    return objectives.find(name)(**({"groups": 2} if name == "piwae" else {}))


def peaked(arch: str) -> IWAE:
    """Return a model whose weights differ as those of a trained one do."""
    model = tiny_model(ARCHS[arch])
    model.generative[0].get_parameter("logits.weight").data.mul_(20)
    return model


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def flat(found: Gradients) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in found.parameters])


def assert_same(found: Gradients, expected: Gradients) -> None:
    torch.testing.assert_close(found.bound, expected.bound)
    torch.testing.assert_close(flat(found), flat(expected))


def in_a_lottery(
    model: IWAE,
    x: Tensor,
    noise: Sequence[Tensor],
    name: str,
    uniform: Tensor,
    capacity: int | None = None,
) -> Gradients:
    return model.gradients(x, noise, find(name), all_rows=False, uniform=uniform, capacity=capacity)


@pytest.mark.parametrize("arch", ["one", "two"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("capacity", [None, 100], ids=["", "fixed capacity"])
def test_gradient_of_the_kept_rows_has_the_expectation_of_all_rows(
    name: str, arch: str, capacity: int | None
) -> None:
    model, generator = peaked(arch), torch.Generator().manual_seed(0)
    x = binary_images(IMAGES).repeat(COPIES // IMAGES, 1)
    differences = []
    for _ in range(BATCHES):
        noise = model.draw_noise(K, len(x), generator)
        uniform = torch.rand(K, len(x), generator=generator, dtype=torch.float64)
        found = in_a_lottery(model, x, noise, name, uniform, capacity)
        differences.append(flat(found) - flat(model.gradients(x, noise, find(name))))
    stacked = torch.stack(differences)
    if name == "vae":  # all weights are equal: there is no lottery
        assert float(stacked.abs().max()) == 0
        return
    directions = torch.randn(
        stacked.shape[1], PROJECTIONS, generator=generator, dtype=torch.float64
    )
    projected = stacked @ directions
    statistic = projected.mean(0) / (projected.std(0) / BATCHES**0.5)
    assert float(projected.abs().max()) > 0
    assert bool((statistic.abs() < LIMIT).all()), statistic


@pytest.mark.parametrize("name", NAMES)
def test_one_sample_and_rows_that_are_all_kept_give_the_gradient_of_all_rows(
    model: IWAE, name: str
) -> None:
    x, generator = binary_images(5), torch.Generator().manual_seed(2)
    noise = model.draw_noise(4, 5, generator)
    alike = in_a_lottery(model, x, noise, "vae", numbers(4, 5))
    assert_same(alike, model.gradients(x, noise, find("vae")))
    if name == "piwae":  # needs two groups
        return
    alone = model.draw_noise(1, 5, generator)
    found = model.gradients(x, alone, find(name), all_rows=False)
    assert torch.equal(flat(found), flat(model.gradients(x, alone, find(name))))


def test_a_sample_is_kept_as_often_as_its_largest_share_of_a_weight_says() -> None:
    log_w = 3 * torch.randn(50, 40, generator=torch.Generator().manual_seed(0)).double()
    w = normalised_weights(log_w)
    two = Weights(w, w.square(), torch.zeros_like(w))
    squares = w.square() / w.square().sum(0)
    expected = (2 * 50 * torch.maximum(w, squares)).clamp(max=1)
    torch.testing.assert_close(keep_probabilities(two, 2.0), expected.clamp(min=2**-24))
    p = keep_probabilities(two)
    kept = draw(two, numbers(50, 40))
    assert len(kept.images) % MULTIPLE == 0
    rows = kept.weights.a[0] != 0
    expected_rows = numbers(50, 40) < p
    assert int(rows.sum()) == int(expected_rows.sum())
    assert bool(expected_rows[kept.samples, kept.images].all())
    of = kept.samples, kept.images
    torch.testing.assert_close(kept.weights.a[0], w[of] / p[of] * rows)
    torch.testing.assert_close(kept.weights.b[0], w[of].square() / p[of] * rows)


class OfThird(Objective):
    """An estimator to which all log weights but the third are minus infinity."""

    def __init__(self, inner: Objective) -> None:
        self.inner = inner

    def alone(self, log_w: Tensor) -> Tensor:
        infinite = torch.full_like(log_w, -torch.inf)
        return infinite.index_copy(0, torch.tensor([2]), log_w[2:3])

    def bound(self, log_w: Tensor) -> Tensor:
        return self.inner.bound(self.alone(log_w))

    def weights(self, log_w: Tensor) -> Weights:
        return self.inner.weights(self.alone(log_w))


@pytest.mark.parametrize("capacity", [None, 64])
def test_a_dropped_sample_may_be_infinite(capacity: int | None) -> None:
    """All weights but one are zero, and what the others compute is not finite."""
    w = torch.zeros(4, 3, dtype=torch.float64)
    w[2] = 1
    kept = draw(Weights.of_total_derivative(w), numbers(4, 3), capacity=capacity)
    assert set(kept.samples.tolist()) == {2}
    assert float(kept.weights.a.sum()) == 3
    model, x = tiny_model(ARCHS["two"]), binary_images(3)
    noise = model.draw_noise(4, 3, torch.Generator().manual_seed(2))
    for epsilon in noise:
        epsilon[:2], epsilon[3:] = torch.inf, 1e200
    only = [epsilon[2:3] for epsilon in noise]
    for name in ("iwae", "dreg", "rws"):
        one = OfThird(find(name))
        found = model.gradients(x, noise, one, all_rows=False, uniform=numbers(4, 3))
        expected = model.gradients(x, only, find(name))
        torch.testing.assert_close(flat(found), flat(expected))


def test_no_kept_row_gives_no_gradient() -> None:
    model, x = tiny_model(ARCHS["one"]), binary_images(1)
    noise = model.draw_noise(2, 1, torch.Generator().manual_seed(2))
    uniform = torch.ones(2, 1, dtype=torch.float64)
    kept = draw(Weights.of_total_derivative(torch.full((2, 1), 0.1).double()), uniform)
    assert not bool(kept.weights.a.any())
    assert flat(in_a_lottery(model, x, noise, "iwae", uniform)).isfinite().all()


def test_the_sample_of_iwae_one_sample_counts_one() -> None:
    log_w = torch.tensor([[0.0, -torch.inf], [-torch.inf, 0.0]])
    kept = draw_one(log_w, torch.rand(2))
    assert kept.samples.tolist() == [0, 1]
    assert torch.equal(kept.weights.b, torch.ones(1, 2))
    assert kept.weights.total_derivative


def test_rows_beyond_a_fixed_capacity_are_lost() -> None:
    w = torch.full((4, 100), 0.25)
    kept = draw(Weights.of_total_derivative(w), torch.zeros(4, 100), capacity=128)
    assert kept.samples.shape == (128,)
    assert torch.equal(kept.samples * 100 + kept.images, torch.arange(128))


def test_the_usual_capacity_holds_what_a_trained_model_keeps_and_never_more_than_all() -> None:
    for k, kept in ((50, 6.8), (10, 2.3), (5, 1.6)):
        assert expected_rows(ample_capacity(k, 100)) > kept * 100
    assert ample_capacity(2, 32) == 64


def test_training_without_a_lottery_draws_no_more_random_numbers() -> None:
    ends = []
    for all_rows in (True, False):
        model, generator = tiny_model(ARCHS["one"]).float(), torch.Generator().manual_seed(0)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        update = Update(model, optimizer, generator, "mean", binarisation=FIXED, all_rows=all_rows)
        start = torch.cat([p.detach().flatten() for p in model.parameters()])
        bound = update(binary_images(4).float(), 6, find("dreg"))
        assert bool(bound.isfinite())
        assert not torch.equal(start, torch.cat([p.flatten() for p in model.parameters()]))
        ends.append(generator.get_state())
    other = torch.Generator().manual_seed(0)
    model.draw_noise(6, 4, other)
    assert torch.equal(ends[0], other.get_state())
    torch.rand(6, 4, generator=other)
    assert torch.equal(ends[1], other.get_state())


def test_a_kernel_is_compiled_where_no_cache_can_be_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def njit(**options: Any) -> Callable[[Any], Any]:
        def decorate(function: Any) -> Any:
            if options.get("cache"):
                raise RuntimeError("cannot cache function: no locator available")
            return function

        return decorate

    monkeypatch.setattr(bernoulli_kernel, "njit", njit)
    assert bernoulli_kernel.compiled(math.sqrt) is math.sqrt


def test_variance_of_the_gradient_grows_by_less_than_a_twentieth() -> None:
    """Weights as a trained model has them, with a median effective sample size below 5 of 50."""
    model, generator = peaked("one"), torch.Generator().manual_seed(0)
    x = binary_images(8).repeat(4, 1)
    log_w = model.importance_sample(x, model.draw_noise(50, len(x), generator)).log_w.detach()
    assert float(effective_sample_size(log_w).median()) < 5
    p = keep_probabilities(find("iwae").weights(log_w))
    assert float(p.sum(0).mean()) < 15
    for name in ("iwae", "dreg"):
        ours, theirs = (Moments(sum(p.numel() for p in model.parameters())) for _ in range(2))
        for _ in range(250):
            noise = model.draw_noise(50, len(x), generator)
            uniform = torch.rand(50, len(x), generator=generator, dtype=torch.float64)
            ours.add(flat(in_a_lottery(model, x, noise, name, uniform)))
            theirs.add(flat(model.gradients(x, noise, find(name))))
        ratio = float(ours.variance.sum() / theirs.variance.sum())
        assert ratio < 1.05, (name, ratio)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "network", "slope"),
    [("iwae", "recognition", -0.5), ("dreg", "recognition", 0.5), ("dreg", "generative", 0.5)],
)
def test_signal_to_noise_ratio_depends_on_k_as_that_of_all_rows(
    name: str, network: str, slope: float
) -> None:
    """Rainforth et al. 2018 and Tucker et al. 2018, with a quarter of the rows kept for sure."""
    model, x = linear_iwae(wider=1.15, shift=0.5), LinearGaussian().images(8).repeat(25, 1)
    own = [id(p) for p in model.get_submodule(network).parameters()]
    ks, generator = [8, 32, 128], torch.Generator().manual_seed(0)
    ratios = []
    for k in ks:
        moments = Moments(sum(p.numel() for p in model.get_submodule(network).parameters()))
        for _ in range(200):
            noise = model.draw_noise(k, len(x), generator)
            uniform = torch.rand(k, len(x), generator=generator, dtype=torch.float64)
            found = in_a_lottery(model, x, noise, name, uniform).parameters
            both = zip(model.parameters(), found, strict=True)
            moments.add(torch.cat([g.flatten() for p, g in both if id(p) in own]))
        ratios.append(moments.signal_to_noise())
    found_slope = np.polyfit(np.log(ks), np.log(ratios), 1)[0]
    assert found_slope == pytest.approx(slope, abs=0.1)


@pytest.mark.parametrize("pixels", [1, 64, 112, 230, 784, 2000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("scale", [3.0, 100.0])
def test_the_kernel_in_one_pass_is_exact(pixels: int, dtype: torch.dtype, scale: float) -> None:
    x = binary_images(3, pixels).float()
    normal = torch.randn(4, 3, pixels, generator=torch.Generator().manual_seed(0))
    logits = (scale * normal).clamp(-100, 100).to(dtype)
    exact = logits.double().requires_grad_()
    expected = Bernoulli(logits=exact).log_prob(x.double()).sum(-1)
    (slopes,) = torch.autograd.grad(-expected.sum(), exact)
    alone, nothing = bernoulli_log_densities(logits, x)
    found, residual = bernoulli_log_densities(logits, x, slopes=True)
    assert torch.equal(found, alone)
    assert nothing.numel() == 0
    # a sum of few terms near zero is exact to the rounding of 1 + exp(-|t|)
    torch.testing.assert_close(
        found.double(), expected.detach(), rtol=2e-7, atol=1e-7 * math.sqrt(pixels)
    )
    assert residual.dtype == dtype
    tolerance = 2e-7 if dtype == torch.float32 else 2**-9
    torch.testing.assert_close(residual.double(), slopes, rtol=tolerance * 10, atol=tolerance)


def test_the_kernel_takes_logits_that_all_images_share_and_shows_what_is_not_a_number() -> None:
    x = binary_images(5, 20).float()
    logits = torch.randn(3, 1, 20, generator=torch.Generator().manual_seed(0))
    found, _ = bernoulli_log_densities(logits, x)
    copies, _ = bernoulli_log_densities(logits.expand(3, 5, 20), x)
    assert torch.equal(found, copies)
    logits[1, 0, 7] = torch.nan
    found, residual = bernoulli_log_densities(logits.expand(3, 5, 20), x, slopes=True)
    assert found.isnan().any(1).tolist() == [False, True, False]
    assert bool(residual[1, :, 7].isnan().all())


def test_saturated_pixels_are_exact_in_the_kernel() -> None:
    x = torch.tensor([[1.0, 0.0, 1.0, 0.0] * 100])
    logits = torch.tensor([80.0, 80.0, -80.0, -80.0] * 100).view(1, 1, -1)
    found, residual = bernoulli_log_densities(logits, x, slopes=True)
    assert found.item() == -16000
    expected = torch.tensor([0.0, 1.0, -1.0, 0.0] * 100).view(1, 1, -1)
    torch.testing.assert_close(residual, expected, rtol=0, atol=1e-30)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
@pytest.mark.parametrize("all_rows", [True, False])
def test_gradients_of_images_in_pieces_and_on_two_cores_are_those_of_all_at_once(
    monkeypatch: pytest.MonkeyPatch,
    all_rows: bool,
    mode: Callable[[], AbstractContextManager[object]],
) -> None:
    model = tiny_model(ARCHS["two"])
    x, noise = binary_images(30), model.draw_noise(50, 30, torch.Generator().manual_seed(2))
    uniform = None if all_rows else numbers(50, 30)
    monkeypatch.setattr(cores, "FEW_ROWS", 500)
    found = []
    with mode():
        for threads, parts, rows, pieces in ((1, 1, 1500, 1), (1, 1, 100, 15), (2, 2, 100, 15)):
            torch.set_num_threads(threads)
            monkeypatch.setattr(cores, "ROWS", rows)
            try:
                assert len(cores.one_per_core(30, 50, x.device)) == parts
                assert len(cores.pieces_of(30, 50, x.device)) == pieces
                drawn = model.gradients(
                    x, noise, objectives.find("dreg")(), all_rows=all_rows, uniform=uniform
                )
                assert torch.get_num_threads() == threads
            finally:
                torch.set_num_threads(1)
            found.append(drawn)
    assert_same(found[1], found[0])
    assert_same(found[2], found[0])


def test_a_fault_on_another_core_comes_back_to_the_caller() -> None:
    def work(part: slice) -> int:
        if part.start:
            raise ValueError("of the second part")
        return 1

    torch.set_num_threads(2)
    try:
        with pytest.raises(ValueError, match="of the second part"):
            cores.side_by_side(work, [slice(0, 1), slice(1, 2)])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
