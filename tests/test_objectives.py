"""How an objective's weights become gradients of the model, float64."""

import math
from typing import cast

import pytest
import torch
from conftest import binary_images, tiny_model
from estimators import CASES, Case
from torch import Tensor

from iwae_cli import objectives
from iwae_cli.core.config import Arch
from iwae_cli.models.iwae import IWAE, Reduction
from iwae_cli.objectives.base import Objective, Weights
from iwae_cli.objectives.importance import log_mean_exp, normalised_weights

K, B = 6, 3
WEIGHTED = [case for case in CASES if case.name != "iwae_one_sample"]


def fixed_draw(model: IWAE) -> tuple[Tensor, tuple[Tensor, ...]]:
    return binary_images(B), model.draw_noise(K, B, torch.Generator().manual_seed(4))


def gradients(model: IWAE, objective: Objective, reduction: Reduction = "mean") -> list[Tensor]:
    found = model.gradients(*fixed_draw(model), objective, reduction=reduction).parameters
    return in_by_hands_order(model, found)


def in_by_hands_order(model: IWAE, found: list[Tensor]) -> list[Tensor]:
    """Return the generative network's gradients before those of the recognition network."""
    own = dict(zip(model.parameters(), found, strict=True))
    return [own[p] for p in (*model.generative.parameters(), *model.recognition.parameters())]


def assert_all_close(found: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def log_q_with_constant_parameters(model: IWAE, x: Tensor, latents: tuple[Tensor, ...]) -> Tensor:
    """Return log q(h | x) with q's parameters, not its outputs, held constant."""
    total, below = torch.zeros(K, B, dtype=torch.float64), x
    for layer, h in zip(model.recognition, latents, strict=True):
        constant = {name: p.detach() for name, p in layer.named_parameters()}
        q = torch.func.functional_call(layer, constant, (below,))
        total = total + q.log_density(h)
        below = h
    return total


def by_hand(model: IWAE, objective: Objective) -> list[Tensor]:
    """Return the gradients of the loss as the definition of (a, b, c) gives them."""
    x, noise = fixed_draw(model)
    sample = model.importance_sample(x, noise)
    weights = objective.weights(sample.log_w.detach())
    constant = [h.detach() for h in sample.latents]
    theta, phi = list(model.generative.parameters()), list(model.recognition.parameters())
    model_ascent = (weights.a * model.log_p_x_and_h(x, constant)).sum() / B
    log_q = log_q_with_constant_parameters(model, x, sample.latents)
    path = model.log_p_x_and_h(x, sample.latents) - log_q
    score = model.log_q_h_given_x(x, constant)
    inference_ascent = (weights.b * path + weights.c * score).sum() / B
    return [
        *torch.autograd.grad(-model_ascent, theta),
        *torch.autograd.grad(-inference_ascent, phi),
    ]


@pytest.mark.parametrize("case", WEIGHTED, ids=str)
def test_gradients_are_pathwise_and_score_derivatives_by_hand(model: IWAE, case: Case) -> None:
    objective = case.objective()
    assert_all_close(gradients(model, objective), by_hand(model, objective))


@pytest.mark.parametrize("case", [case for case in CASES if case.plain], ids=str)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradients_equal_automatic_differentiation_of_the_bound(
    model: IWAE, case: Case, reduction: Reduction
) -> None:
    objective = case.objective()
    bound = objective.bound(model.importance_sample(*fixed_draw(model)).log_w)
    loss = -(bound.mean() if reduction == "mean" else bound.sum())
    parameters = [*model.generative.parameters(), *model.recognition.parameters()]
    expected = list(torch.autograd.grad(loss, parameters))
    assert_all_close(gradients(model, objective, reduction), expected)


class Triple(Objective):
    """An estimator with weights that have nothing in common, for the general case."""

    def bound(self, log_w: Tensor) -> Tensor:
        return log_mean_exp(log_w)

    def weights(self, log_w: Tensor) -> Weights:
        w = normalised_weights(log_w)
        return Weights(w, w.square(), 0.3 - w)


def test_general_weights_give_the_gradients_by_hand(model: IWAE) -> None:
    assert_all_close(gradients(model, Triple()), by_hand(model, Triple()))


@pytest.mark.parametrize("objective", [objectives.find("iwae")(), Triple()], ids=["iwae", "triple"])
def test_a_sample_without_weight_may_have_infinite_slopes(objective: Objective) -> None:
    """The standard deviation of p(h1 | h2) underflows at the first sample, then its weight."""
    model = tiny_model(Arch(latents=[4, 3], hidden=[[6], []])).float()
    model.generative[1].get_parameter("log_std.weight").data.fill_(-2.0)
    noise = model.draw_noise(K, B, torch.Generator().manual_seed(4))
    noise[1][0] = 30.0
    x = binary_images(B).float()
    with torch.no_grad():
        forward = model.forward_pass(x, noise)
    slopes = forward.p[1].gaussian.slopes(forward.latents[0])
    assert bool(slopes.log_std[0].isinf().all())
    assert bool((forward.log_w[0] == -math.inf).all())
    assert bool(forward.log_w[1:].isfinite().all())
    found = model.gradients(x, noise, objective)
    assert all(bool(gradient.isfinite().all()) for gradient in found.parameters)


def test_piwae_gives_each_network_the_gradient_of_its_own_objective(model: IWAE) -> None:
    generative = len(list(model.generative.parameters()))
    piwae = gradients(model, objectives.find("piwae")(groups=2))  # type: ignore[call-arg]
    miwae = gradients(model, objectives.find("miwae")(groups=2))  # type: ignore[call-arg]
    iwae = gradients(model, objectives.find("iwae")())
    assert_all_close(piwae[:generative], iwae[:generative])
    assert_all_close(piwae[generative:], miwae[generative:])
    assert not torch.allclose(miwae[0], iwae[0])


def test_one_sample_gives_the_gradient_of_the_log_weight_that_was_drawn(model: IWAE) -> None:
    x, noise = fixed_draw(model)
    uniform = torch.tensor([0.0, 0.999999, 0.5], dtype=torch.float64)
    log_w = model.importance_sample(x, noise).log_w
    cumulative = torch.softmax(log_w, 0).cumsum(0)
    chosen = [int((cumulative[:, b] <= uniform[b]).sum()) for b in range(B)]
    loss = -sum(log_w[j, b] for b, j in enumerate(chosen)) / B
    parameters = [*model.generative.parameters(), *model.recognition.parameters()]
    expected = list(torch.autograd.grad(cast(Tensor, loss), parameters))
    found = model.gradients(x, noise, objectives.find("iwae_one_sample")(), uniform=uniform)
    torch.testing.assert_close(found.bound, log_mean_exp(log_w.detach()))
    assert_all_close(in_by_hands_order(model, found.parameters), expected)
