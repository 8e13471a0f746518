from dataclasses import dataclass
from typing import cast

import pytest
import torch
from conftest import binary_images
from torch import Tensor

from iwae_cli import objectives
from iwae_cli.models.importance import Objective, Weights, log_mean_exp, normalised_weights
from iwae_cli.models.iwae import IWAE, Reduction

K, B = 5, 3
ALL = [objectives.find(name)() for name in objectives.names()]
IDS = objectives.names()


def fixed_draw(model: IWAE) -> tuple[Tensor, tuple[Tensor, ...]]:
    return binary_images(B), model.draw_noise(K, B, torch.Generator().manual_seed(4))


def gradients(model: IWAE, objective: Objective, reduction: Reduction = "mean") -> list[Tensor]:
    model.zero_grad()
    model.accumulate_gradients(*fixed_draw(model), objective, reduction=reduction)
    return [cast(Tensor, p.grad).clone() for p in model.parameters()]


def assert_all_close(found: list[Tensor], expected: list[Tensor] | tuple[Tensor, ...]) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("objective", ALL, ids=IDS)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradients_equal_automatic_differentiation_of_the_bound(
    model: IWAE, objective: Objective, reduction: Reduction
) -> None:
    bound = objective.bound(model.importance_sample(*fixed_draw(model)).log_w)
    loss = -(bound.mean() if reduction == "mean" else bound.sum())
    expected = torch.autograd.grad(loss, list(model.parameters()))
    assert_all_close(gradients(model, objective, reduction), expected)


@dataclass(frozen=True)
class Triple:
    """An estimator with weights that have nothing in common, for the general case."""

    def bound(self, log_w: Tensor) -> Tensor:
        return log_mean_exp(log_w)

    def weights(self, log_w: Tensor) -> Weights:
        w = normalised_weights(log_w)
        return Weights(w, w.square(), 0.3 - w)


def test_general_weights_give_pathwise_and_score_gradients_by_hand(model: IWAE) -> None:
    x, noise = fixed_draw(model)
    theta, phi = list(model.generative.parameters()), list(model.recognition.parameters())
    sample = model.importance_sample(x, noise)
    weights = Triple().weights(sample.log_w.detach())
    constant = [h.detach() for h in sample.latents]
    held = {
        name: p.detach() if name.startswith("recognition") else p
        for name, p in model.named_parameters()
    }

    def log_q_with_constant_parameters(latents: tuple[Tensor, ...]) -> Tensor:
        total, below = torch.zeros(K, B, dtype=torch.float64), x
        for level, h in enumerate(latents):
            names = {n: v for n, v in held.items() if n.startswith(f"recognition.{level}.")}
            own = {n.removeprefix(f"recognition.{level}."): v for n, v in names.items()}
            q = torch.func.functional_call(model.recognition[level], own, (below,))
            total = total + q.log_density(h)
            below = h
        return total

    log_p = model.log_p_x_and_h(x, constant)
    expected_theta = torch.autograd.grad(-(weights.a * log_p).sum() / B, theta)
    path = model.log_p_x_and_h(x, sample.latents) - log_q_with_constant_parameters(sample.latents)
    score = model.log_q_h_given_x(x, constant)
    ascent = (weights.b * path + weights.c * score).sum() / B
    expected_phi = torch.autograd.grad(-ascent, phi)
    gradients(model, Triple())
    assert_all_close([cast(Tensor, p.grad) for p in theta], expected_theta)
    assert_all_close([cast(Tensor, p.grad) for p in phi], expected_phi)


def test_a_declared_total_derivative_is_the_general_case_with_the_same_weights(
    model: IWAE,
) -> None:
    @dataclass(frozen=True)
    class Spelled:
        def bound(self, log_w: Tensor) -> Tensor:
            return log_mean_exp(log_w)

        def weights(self, log_w: Tensor) -> Weights:
            w = normalised_weights(log_w)
            return Weights(w, w, -w)

    iwae = objectives.find("iwae")()
    assert_all_close(gradients(model, Spelled()), gradients(model, iwae))


@pytest.mark.parametrize("objective", ALL, ids=IDS)
def test_permuting_samples_permutes_weights_and_leaves_the_bound(objective: Objective) -> None:
    generator = torch.Generator().manual_seed(0)
    log_w = torch.randn(K, B, generator=generator, dtype=torch.float64)
    order = torch.randperm(K, generator=generator)
    torch.testing.assert_close(objective.bound(log_w[order]), objective.bound(log_w))
    torch.testing.assert_close(objective.weights(log_w[order]).a, objective.weights(log_w).a[order])


@pytest.mark.parametrize("objective", ALL, ids=IDS)
def test_one_sample_gives_the_elbo_and_full_weight(objective: Objective) -> None:
    log_w = torch.tensor([[-3.0, -90.0]])
    torch.testing.assert_close(objective.bound(log_w), log_w[0])
    torch.testing.assert_close(objective.weights(log_w).a, torch.ones(1, 2))


@pytest.mark.parametrize("objective", ALL, ids=IDS)
def test_a_constant_added_to_log_w_shifts_the_bound_alone(objective: Objective) -> None:
    log_w = torch.randn(K, B, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(objective.bound(log_w - 500), objective.bound(log_w) - 500)
    torch.testing.assert_close(objective.weights(log_w - 500).a, objective.weights(log_w).a)


def test_every_objective_has_a_yaml_of_its_name_and_no_other_exists() -> None:
    from iwae_cli.launch import conf_folder

    assert sorted(p.stem for p in (conf_folder() / "objective").glob("*.yaml")) == IDS
