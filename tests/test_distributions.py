"""Derivatives of the Gaussian that are written out, beside autograd's."""

import pytest
import torch
from torch import Tensor

from iwae_cli.models.distributions import Gaussian, indicators

K, B, H = 4, 3, 2


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def q() -> Gaussian:
    """One Gaussian for all samples of an image, [B, H]."""
    own = Gaussian(random(B, H, seed=0), 0.5 * random(B, H, seed=1))
    return Gaussian(*(p.requires_grad_() for p in own))


def assert_same(found: Gaussian, loss: Tensor, q: Gaussian) -> None:
    for own, expected in zip(found, torch.autograd.grad(loss, tuple(q)), strict=True):
        torch.testing.assert_close(own, expected)


def test_the_score_is_the_derivative_of_log_q_at_constant_samples(q: Gaussian) -> None:
    noise, weights = random(K, B, H, seed=2), random(K, B, seed=3)
    h = q.transform(noise).detach()
    with torch.no_grad():
        found = q.score_gradient(noise, weights)
    assert_same(found, (weights * q.log_density(h)).sum(), q)


def test_the_path_is_the_derivative_through_the_samples_at_constant_noise(q: Gaussian) -> None:
    noise, flow, b = random(K, B, H, seed=2), random(K, B, H, seed=3), random(K, B, seed=4)
    with torch.no_grad():
        found = q.path_gradient(noise, flow, b)
    h = q.transform(noise)
    assert_same(found, (flow * h).sum() - (b * q.log_density_at_noise(noise)).sum(), q)


def test_rows_of_any_images_add_up_to_each_image(q: Gaussian) -> None:
    images = torch.tensor([2, 0, 0, 1, 2])
    noise, flow = random(1, 5, H, seed=2), random(1, 5, H, seed=3)
    weights = random(1, 5, seed=4)
    with torch.no_grad():
        rows = indicators(images, q.mean)
        score = q.score_gradient(noise, weights, rows)
        path = q.path_gradient(noise, flow, weights, rows)
    own = q.rows(images)
    h = own.transform(noise)
    assert_same(score, (weights * own.log_density(h.detach())).sum(), q)
    own = q.rows(images)
    loss = (flow * own.transform(noise)).sum()
    assert_same(path, loss - (weights * own.log_density_at_noise(noise)).sum(), q)
