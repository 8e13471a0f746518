"""Pareto k-hat against tails of known shape, the jackknife's bias against its definition."""

import logging
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from iwae_cli.evaluation.laplace import BY_LAPLACE
from iwae_cli.evaluation.tail_warning import choices, warn_of_heavy_tails
from iwae_cli.evaluation.tails import jackknife_bias, pareto_k_hat, shape_of, tail_size
from iwae_cli.objectives.importance import log_mean_exp


def pareto_log_weights(shape: float, k: int, images: int) -> Tensor:
    """Return logs of U^(-shape), whose tail is Pareto of that shape at every threshold."""
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(k, images, generator=generator, dtype=torch.float64)
    return -shape * uniform.log()


@pytest.mark.parametrize(("k", "size"), [(20, 4), (100, 20), (225, 45), (5000, 213)])
def test_the_tail_is_the_smaller_of_a_fifth_and_three_roots(k: int, size: int) -> None:
    assert tail_size(k) == size


@pytest.mark.parametrize("shape", [0.2, 0.5, 0.7, 1.0, 1.5])
def test_k_hat_is_the_shape_of_an_exact_pareto_tail(shape: float) -> None:
    """The variance of the fit is (1 + shape)^2 / M; five standard errors over 100 images, after
    the pull towards 0.5 by ten samples among M; false alarm 6e-7 each."""
    k, images = 20_000, 100
    M = tail_size(k)
    found = pareto_k_hat(pareto_log_weights(shape, k, images))
    expected = (M * shape + 10 * 0.5) / (M + 10)
    error = (1 + shape) / math.sqrt(M * images)
    # and the fit's own bias of order 1 / M
    assert float(found.mean()) == pytest.approx(expected, abs=5 * error + 2 / M)


@pytest.mark.parametrize("shape", [-0.3, 0.3, 0.9])
def test_the_fit_finds_the_shape_of_a_generalised_pareto(shape: float) -> None:
    uniform = (np.arange(4000) + 0.5) / 4000  # its quantiles, so there is no chance
    excesses = 3.7 * np.expm1(-shape * np.log1p(-uniform)) / shape
    assert shape_of(excesses) == pytest.approx(shape, abs=0.02)


def test_k_hat_does_not_depend_on_scale_and_grows_with_the_power_of_the_weights() -> None:
    log_w = pareto_log_weights(0.6, 2000, 5)
    torch.testing.assert_close(pareto_k_hat(log_w), pareto_k_hat(log_w - 700))
    assert bool((pareto_k_hat(2 * log_w) > pareto_k_hat(log_w) + 0.3).all())


def test_k_hat_of_equal_weights_of_few_and_of_one_that_has_all() -> None:
    assert bool(pareto_k_hat(torch.zeros(100, 2)).isneginf().all())
    assert bool(pareto_k_hat(torch.zeros(20, 2)).isnan().all())
    alone = torch.linspace(-900, -800, 200).unsqueeze(1).double()
    alone[7] = 0.0
    assert float(pareto_k_hat(alone)) > 1


@pytest.mark.parametrize("k", [2, 3, 40])
def test_jackknife_bias_is_what_leaving_each_sample_out_gives(k: int) -> None:
    log_w = 3 * torch.randn(k, 4, generator=torch.Generator().manual_seed(2)).double()
    without = [log_mean_exp(torch.cat([log_w[:i], log_w[i + 1 :]])) for i in range(k)]
    expected = (k - 1) * (log_mean_exp(log_w) - torch.stack(without).mean(0))
    torch.testing.assert_close(jackknife_bias(log_w), expected)


def test_jackknife_bias_is_finite_where_one_weight_is_all_and_unknown_for_one() -> None:
    log_w = torch.tensor([[0.0], [-60.0], [-70.0]])
    # leaving out the first lowers the bound by 60, which is 2 / 3 of 60 by the jackknife
    assert float(jackknife_bias(log_w)) == pytest.approx(40, abs=1)
    assert bool(jackknife_bias(torch.zeros(1, 3)).isnan().all())


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({}, True),
        ({"share_khat_above_0.7": 0.04}, False),
        ({"se_images": 0.3}, False),
        ({"bias_jackknife": math.nan}, False),
        ({"share_khat_above_0.7": math.nan}, False),
    ],
)
def test_a_warning_says_what_to_do_and_what_it_costs_where_the_bias_counts(
    changes: dict[str, float], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    row: dict[str, Any] = {"k": 5000, "seconds": 102.0, "se_images": 0.2, "bias_jackknife": 0.13}
    row |= {"share_khat_above_0.7": 0.37, "estimator": "L_k", **changes}
    with caplog.at_level(logging.WARNING, logger="iwae"):
        warn_of_heavy_tails(row, 50)
    assert bool(caplog.messages) == warned
    if warned:
        (message,) = caplog.messages
        assert message == (
            "warning: 37 % of the images have a Pareto k-hat above 0.7 at k=5000: the NLL is too "
            "high, by 0.13 nats or more; here --proposal laplace --k 500 takes about a minute, "
            "--estimator ais takes about 11 min, --k 50000 takes about 17 min"
        )


def test_of_a_fitted_proposal_the_cost_of_fitting_is_no_part_of_what_more_samples_take() -> None:
    row = {"k": 500, "seconds": 300.0, "estimator": BY_LAPLACE}
    found = choices(row, 50)
    # 404 samples to fit and 18 to step: 5 minutes for 922, so 5,422 take 29 and 32,000 take 174
    assert found == {"--k 5000": "29 min", "--estimator ais": "3 h"}


@pytest.mark.parametrize("k", [1100, 1300, 1600])
def test_a_tail_of_equal_weights_has_a_shape(k: int) -> None:
    log_w = torch.zeros(k, 1, dtype=torch.float64)
    log_w[: tail_size(k)] = math.log(4.0)
    assert bool(pareto_k_hat(log_w).isfinite().all())
