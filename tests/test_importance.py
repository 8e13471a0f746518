import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iwae_cli.objectives.importance import effective_sample_size, log_mean_exp, normalised_weights


def random_log_w(k: int, B: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(k, B, generator=generator, dtype=torch.float64) - 90


def test_log_mean_exp_is_the_logarithm_of_the_mean_weight_of_each_image() -> None:
    log_w = random_log_w(6, 4)
    expected = [math.log(sum(math.exp(v + 90) for v in column) / 6) - 90 for column in log_w.T]
    torch.testing.assert_close(log_mean_exp(log_w), torch.tensor(expected, dtype=torch.float64))


def test_equal_weights_have_their_own_value_as_log_mean_exp_at_any_k() -> None:
    for k in (1, 5, 5000):
        torch.testing.assert_close(log_mean_exp(torch.full((k, 2), -85.0)), torch.full((2,), -85.0))


@pytest.mark.parametrize("shift", [-1e4, -100.0, 300.0])
def test_a_constant_added_to_log_w_shifts_the_bound_and_leaves_weights_and_ess(
    shift: float,
) -> None:
    log_w = random_log_w(7, 3)
    torch.testing.assert_close(log_mean_exp(log_w + shift), log_mean_exp(log_w) + shift)
    torch.testing.assert_close(normalised_weights(log_w + shift), normalised_weights(log_w))
    torch.testing.assert_close(effective_sample_size(log_w + shift), effective_sample_size(log_w))


@given(st.integers(1, 30), st.integers(0, 1000))
def test_effective_sample_size_is_one_over_the_sum_of_squared_weights(k: int, seed: int) -> None:
    log_w = random_log_w(k, 3, seed)
    weights = normalised_weights(log_w)
    torch.testing.assert_close(weights.sum(0), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(effective_sample_size(log_w), 1 / weights.square().sum(0))


def test_effective_sample_size_runs_from_one_dominant_sample_to_k_equal_ones() -> None:
    log_w = torch.zeros(5, 2)
    log_w[0, 1] = 200.0
    torch.testing.assert_close(effective_sample_size(log_w), torch.tensor([5.0, 1.0]))
