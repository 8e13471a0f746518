"""Each estimator's bound and weights as pure functions of log weights, float64."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from estimators import CASES, Case, jackknife
from linear_gaussian import LinearGaussian
from omegaconf import OmegaConf
from torch import Tensor

from iwae_cli import objectives
from iwae_cli.core import config
from iwae_cli.core.errors import ConfigError
from iwae_cli.evaluation.noise import EvaluationNoise
from iwae_cli.objectives.base import Objective
from iwae_cli.objectives.importance import drawn_by_weight, log_mean_exp
from iwae_cli.training import components

K, B = 6, 3
every_case = pytest.mark.parametrize("case", CASES, ids=str)


def log_weights(k: int = K, seed: int = 0, scale: float = 1.5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(k, B, generator=generator, dtype=torch.float64)


def find(name: str, **parameters: Any) -> Objective:
    return objectives.find(name)(**parameters)


def assert_same(one: Objective, other: Objective, log_w: Tensor) -> None:
    torch.testing.assert_close(one.bound(log_w), other.bound(log_w))
    first, second = one.weights(log_w), other.weights(log_w)
    for found, expected in ((first.a, second.a), (first.b, second.b), (first.c, second.c)):
        torch.testing.assert_close(found, expected)


def test_every_estimator_has_its_row_here_and_its_yaml() -> None:
    from iwae_cli.cli.conf_files import conf_folder

    assert sorted({case.name for case in CASES}) == objectives.names()
    files = sorted((conf_folder() / "objective").glob("*.yaml"))
    assert [path.stem for path in files] == objectives.names()
    for path in files:
        values = OmegaConf.to_container(OmegaConf.load(path))
        assert values == dataclasses.asdict(find(path.stem))  # type: ignore[call-overload]
        assert path.read_text().startswith("# "), "the reference stands in the first line"


@every_case
def test_weights_are_those_of_the_definition(case: Case) -> None:
    log_w = log_weights()
    weights = case.objective().weights(log_w)
    for found, expected in zip((weights.a, weights.b, weights.c), case.triple(log_w), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


@every_case
def test_what_weights_state_of_themselves_holds(case: Case) -> None:
    weights = case.objective().weights(log_weights())
    if weights.total_derivative:
        assert torch.equal(weights.b, weights.a)
        assert torch.equal(weights.c, -weights.a)


@every_case
def test_a_bound_that_is_followed_has_the_weights_as_its_derivative(case: Case) -> None:
    log_w = log_weights().requires_grad_()
    objective = case.objective()
    (derivative,) = torch.autograd.grad(objective.bound(log_w).sum(), log_w)
    if case.plain:
        torch.testing.assert_close(objective.weights(log_w.detach()).a, derivative)
    elif case.bound:  # the samples count as constants for the decoder
        torch.testing.assert_close(objective.weights(log_w.detach()).a, derivative)
        torch.testing.assert_close(objective.bound(log_w), case.bound(log_w))
    else:  # these report L_k
        torch.testing.assert_close(objective.bound(log_w), log_mean_exp(log_w))


@every_case
def test_a_constant_added_to_log_w_shifts_the_bound_alone(case: Case) -> None:
    log_w, objective = log_weights(), case.objective()
    for shift in (-500.0, 90.0):
        moved = objective.bound(log_w + shift)
        torch.testing.assert_close(moved, objective.bound(log_w) + shift)
        weights, same = objective.weights(log_w), objective.weights(log_w + shift)
        torch.testing.assert_close(same.a, weights.a)
        torch.testing.assert_close(same.b, weights.b)


@every_case
def test_permuting_samples_permutes_the_weights_and_leaves_the_bound(case: Case) -> None:
    log_w, objective = log_weights(), case.objective()
    order = [2, 0, 1, 5, 3, 4] if case.grouped else [5, 2, 0, 4, 1, 3]
    torch.testing.assert_close(objective.bound(log_w[order]), objective.bound(log_w))
    weights, permuted = objective.weights(log_w), objective.weights(log_w[order])
    torch.testing.assert_close(permuted.a, weights.a[order])
    torch.testing.assert_close(permuted.b, weights.b[order])


@pytest.mark.parametrize("scale", [1.0, 200.0])
@every_case
def test_bounds_and_weights_stay_finite_for_weights_far_apart(case: Case, scale: float) -> None:
    log_w = log_weights(scale=scale).float()
    weights = case.objective().weights(log_w)
    for values in (case.objective().bound(log_w), weights.a, weights.b, weights.c):
        assert bool(values.isfinite().all())


@pytest.mark.parametrize("level", [-90.0, -550.0])
@pytest.mark.parametrize(
    ("name", "parameters", "k"),
    [
        ("jvi", {"order": 1}, 50),
        ("jvi", {"order": 2}, 50),
        ("vr", {"alpha": 0.99999}, 50),
        ("vr", {"alpha": 1 - 1e-9}, 50),
        ("vr", {"alpha": 1e6}, 50),
        ("vr", {"alpha": -1e6}, 50),
    ],
)
def test_float32_log_weights_lose_no_more_than_their_own_rounding(
    name: str, parameters: dict[str, float], k: int, level: float
) -> None:
    generator = torch.Generator().manual_seed(0)
    single = (level + 8 * torch.randn(k, 20, generator=generator, dtype=torch.float64)).float()
    objective = find(name, **parameters)
    exact = objective.bound(single.double())
    torch.testing.assert_close(objective.bound(single).double(), exact, rtol=2e-7, atol=0)
    ours, theirs = objective.weights(single).a, objective.weights(single.double()).a
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-7)


ONE_SAMPLE = [case for case in CASES if case.name not in ("jvi", "miwae", "piwae", "rws", "vimco")]


@pytest.mark.parametrize("case", ONE_SAMPLE, ids=str)
def test_one_sample_gives_the_elbo_and_full_weight_to_the_generative_network(case: Case) -> None:
    log_w = torch.tensor([[-3.0, -90.0]])
    torch.testing.assert_close(case.objective().bound(log_w), log_w[0])
    torch.testing.assert_close(case.objective().weights(log_w).a, torch.ones(1, 2))


def test_special_cases_are_the_estimators_they_should_be() -> None:
    log_w = log_weights()
    vae, iwae = find("vae"), find("iwae")
    assert_same(find("miwae", groups=1), iwae, log_w)
    assert_same(find("miwae", groups=K), vae, log_w)
    assert_same(find("piwae", groups=1), iwae, log_w)
    assert_same(find("ciwae", beta=0.0), iwae, log_w)
    assert_same(find("ciwae", beta=1.0), vae, log_w)
    assert_same(find("vr", alpha=0.0), iwae, log_w)
    assert_same(find("vr", alpha=1.0), vae, log_w)
    assert_same(find("vr_dreg", alpha=0.0), find("dreg"), log_w)
    assert_same(find("dreg_alpha", alpha=0.0), find("dreg"), log_w)
    assert_same(find("dreg_alpha", alpha=1.0), find("rws_dreg"), log_w)
    torch.testing.assert_close(find("vr", alpha=-math.inf).bound(log_w), log_w.amax(0))
    nearly = find("vr", alpha=1 - 1e-6).bound(log_w)
    torch.testing.assert_close(nearly, vae.bound(log_w), atol=1e-4, rtol=0)
    half, stl = find("dreg_alpha", alpha=0.5).weights(log_w), find("stl").weights(log_w)
    torch.testing.assert_close(half.b, stl.b / 2)


def test_groups_are_neighbours_and_need_not_be_as_many_as_their_samples() -> None:
    log_w = log_weights()
    halves = [log_mean_exp(log_w[:3]), log_mean_exp(log_w[3:])]
    torch.testing.assert_close(find("miwae", groups=2).bound(log_w), sum(halves) / 2)
    thirds = [log_mean_exp(log_w[i : i + 2]) for i in (0, 2, 4)]
    torch.testing.assert_close(find("miwae", groups=3).bound(log_w), sum(thirds) / 3)


@pytest.mark.parametrize(("order", "k"), [(1, 2), (1, 7), (2, 3), (2, 7)])
def test_jackknife_is_that_over_all_subsets(order: int, k: int) -> None:
    log_w = log_weights(k)
    torch.testing.assert_close(find("jvi", order=order).bound(log_w), jackknife(log_w, order))


def test_each_order_of_the_jackknife_removes_bias() -> None:
    """Bias as E[estimate - R + 1] with R = p-hat / p, whose mean is one: nearly no variance."""
    model = LinearGaussian()
    x = model.images(200)
    exact = model.exact_log_p(x).detach()
    noise = EvaluationNoise(0, model.latents)
    draws = [noise.draw(0, 200, block) for block in range(30)]
    bias = {}
    for name, objective in (
        ("iwae", find("iwae")),
        ("order 1", find("jvi", order=1)),
        ("order 2", find("jvi", order=2)),
    ):
        differences = []
        for (draw,) in draws:
            for first in range(0, 240, 8):
                log_w = model.importance_sample(x, (draw[first : first + 8],)).log_w.detach()
                control = torch.exp(log_mean_exp(log_w) - exact) - 1
                differences.append((objective.bound(log_w) - exact - control).mean())
        bias[name] = abs(float(torch.stack(differences).mean()))
    assert bias["order 1"] < 0.4 * bias["iwae"]
    assert bias["order 2"] < 0.6 * bias["order 1"]


def test_samples_are_drawn_with_their_weights_as_probabilities() -> None:
    """Five standard errors; false alarm 6e-7 a sample."""
    log_w = torch.tensor([[0.0], [1.0], [-2.0], [-80.0]]).expand(4, 200_000)
    uniform = torch.rand(200_000, generator=torch.Generator().manual_seed(0))
    found = drawn_by_weight(log_w, uniform).bincount(minlength=4) / 200_000
    expected = torch.softmax(log_w[:, 0], 0)
    error = 5 * torch.sqrt(expected * (1 - expected) / 200_000) + 1e-9
    assert bool(((found - expected).abs() < error).all())


def test_the_thermodynamic_sum_lies_between_the_elbo_and_l_k_and_fills_the_gap() -> None:
    log_w = log_weights(scale=3.0)
    elbo, l_k = log_w.mean(0), log_mean_exp(log_w)
    torch.testing.assert_close(find("tvo", partitions=1).bound(log_w), elbo)
    few, many = find("tvo", partitions=2).bound(log_w), find("tvo", partitions=8).bound(log_w)
    assert bool(((elbo < few) & (few < many) & (many < l_k)).all())
    finest = find("tvo", partitions=20_000, beta_1=1e-3).bound(log_w)
    torch.testing.assert_close(finest, l_k, atol=5e-3, rtol=0)


def test_a_scheduled_alpha_moves_linearly() -> None:
    moving = find("vr_dreg", alpha=0.8, alpha_end=0.0)
    assert moving.at(0.5) == find("vr_dreg", alpha=0.4, alpha_end=0.0)
    assert find("vr_dreg", alpha=0.3).at(0.9) == find("vr_dreg", alpha=0.3)


def test_a_scheduled_beta_moves_linearly_and_a_fixed_one_stays() -> None:
    moving = find("ciwae", beta=1.0, beta_end=0.2)
    betas = [moving.at(progress).beta for progress in (0.0, 0.5, 1.0)]  # type: ignore[attr-defined]
    assert betas == pytest.approx([1.0, 0.6, 0.2])
    assert find("ciwae", beta=0.3).at(0.9) == find("ciwae", beta=0.3)


def test_only_lower_bounds_are_called_so() -> None:
    kinds = {str(case): case.objective().kind for case in CASES}
    neither = {name for name, kind in kinds.items() if kind != "lower"}
    assert neither == {"vr alpha=-2.0", "vr alpha=-inf", "jvi order=1", "jvi order=2"}


@pytest.mark.parametrize(
    ("objective", "k", "message"),
    [
        ({"name": "miwae", "groups": 8}, 20, "groups=8 does not divide k=20"),
        ({"name": "piwae", "groups": 0}, 8, "groups must be at least 1"),
        ({"name": "ciwae", "beta": 1.5}, 8, "beta and beta_end must be in [0, 1], got 1.5"),
        ({"name": "ciwae", "beta_end": -1.0}, 8, "beta and beta_end must be in [0, 1]"),
        ({"name": "jvi", "order": 1}, 1, "order 1 needs k in 2..5000, got k=1"),
        ({"name": "jvi", "order": 3}, 8, "order must be 1 or 2"),
        ({"name": "jvi", "order": 2}, 500, "order 2 needs k in 3..200"),
        ({"name": "vr", "alpha": math.inf}, 8, "alpha must be in [-1e6, 1e6], or -inf"),
        ({"name": "vr", "alpha": -1e37}, 8, "alpha must be in [-1e6, 1e6], or -inf"),
        ({"name": "vr_dreg", "alpha": -0.1}, 8, "alpha and alpha_end must be in [0, 1]"),
        ({"name": "vr_dreg", "alpha_end": 1.5}, 8, "alpha and alpha_end must be in [0, 1]"),
        ({"name": "tvo", "partitions": 0}, 8, "partitions must be at least 1, got 0"),
        ({"name": "tvo", "beta_1": 1.0}, 8, "beta_1 must be in (0, 1), got 1.0"),
        ({"name": "vimco"}, 1, "vimco needs k of at least 2, got k=1"),
        ({"name": "dreg_alpha", "alpha": 2.0}, 8, "alpha must be in [0, 1]"),
        ({"name": "dreg", "alpha": 0.5}, 8, "unknown key 'alpha'"),
    ],
)
def test_bad_parameters_are_named_before_any_work(
    objective: dict[str, Any], k: int, message: str
) -> None:
    values = {"objective": objective, "k": k, "dataset": {"name": "digits"}}
    with pytest.raises(ConfigError) as caught:
        components.components_of(config.parse({**values, "optimizer": {"name": "paper"}}))
    assert message in str(caught.value)


def test_a_growing_k_that_the_groups_do_not_divide_is_named() -> None:
    values = {"objective": {"name": "miwae", "groups": 8}, "k": 64, "dataset": {"name": "digits"}}
    with pytest.raises(ConfigError, match="groups=8 does not divide k=10 of optimizer.k_growth"):
        components.components_of(config.parse({**values, "optimizer": {"name": "fast"}}))
