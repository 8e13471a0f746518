"""K-FAC against dense algebra, exact Fisher blocks and autograd, in float64."""

import copy
from typing import Any, cast

import pytest
import torch
from conftest import ARCHS, binary_images, tiny_model
from linear_gaussian import linear_iwae
from torch import Tensor, nn
from torch.distributions import Bernoulli, Normal

from iwae_cli.core.config import Arch
from iwae_cli.core.errors import NonFiniteError
from iwae_cli.data.binarisation import FIXED
from iwae_cli.models.fisher import FisherSample
from iwae_cli.models.iwae import IWAE
from iwae_cli.models.layers import GaussianLayer
from iwae_cli.models.likelihoods.bernoulli import BernoulliLayer
from iwae_cli.objectives.iwae import Iwae
from iwae_cli.training.optimizers import kronecker
from iwae_cli.training.optimizers.kfac import KFAC
from iwae_cli.training.optimizers.kronecker import (
    centred,
    damped_inverse,
    moments_of,
    natural,
    output_moment,
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def drawn(layer: nn.Module) -> nn.Module:
    """Fill a layer's parameters with random numbers."""
    for seed, parameter in enumerate(layer.parameters()):
        parameter.data = 0.5 * normal(*parameter.shape, seed=seed)
    return layer


def directions(
    damping: float, *, diagonal: bool = False
) -> tuple[dict[str, Tensor], list[Tensor], Tensor]:
    """Return the state of a layer 4 -> 3, momenta of weight and bias, and the scale pi."""
    mean, moment = moments_of(normal(50, 4) + 0.7, binary=False)
    output = moments_of(normal(50, 3) @ normal(3, 3), binary=False)[1]
    output = output.diagonal().clone() if diagonal else output
    covariance = centred(mean, moment)
    spread = output.mean() if diagonal else output.diagonal().mean()
    scale = torch.sqrt(covariance.diagonal().mean() / spread)
    state = {
        "mean": mean,
        "covariance": covariance,
        "output": output,
        "input_inverse": damped_inverse(covariance, scale * damping**0.5)[0],
        "output_inverse": damped_inverse(output, damping**0.5 / scale)[0],
    }
    return state, [normal(3, 4), normal(3)], scale


@pytest.mark.parametrize("diagonal", [False, True])
def test_direction_solves_the_dense_system_of_the_damped_factors(diagonal: bool) -> None:
    damping = 0.01
    state, momenta, scale = directions(damping, diagonal=diagonal)
    mean, eye = state["mean"], torch.eye(4, dtype=torch.float64)
    A = torch.ones(5, 5, dtype=torch.float64)
    A[:4, :4] = state["covariance"] + scale * damping**0.5 * eye + torch.outer(mean, mean)
    A[4, :4] = A[:4, 4] = mean
    G = torch.diag(state["output"]) if diagonal else state["output"]
    G = G + damping**0.5 / scale * torch.eye(3, dtype=torch.float64)
    gradient = torch.cat([momenta[0], momenta[1][:, None]], dim=1)
    dense = torch.linalg.solve(torch.kron(G, A), gradient.flatten()).view(3, 5)
    found = natural(state, *momenta)
    torch.testing.assert_close(found[0], dense[:, :4])
    torch.testing.assert_close(found[1], dense[:, 4])


def test_direction_with_much_damping_is_that_of_the_gradient() -> None:
    damping = 1e12
    state, (m_weight, m_bias), scale = directions(damping)
    U, u = natural(state, m_weight, m_bias)
    expected = m_weight - torch.outer(m_bias, state["mean"])
    torch.testing.assert_close(U * damping, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(u * damping**0.5 / scale, m_bias, rtol=1e-4, atol=1e-4)


def test_factors_of_a_linear_gaussian_layer_give_its_exact_fisher_block() -> None:
    """Both heads, at constant spread: E[J' J / std^2] and 2 E[J' J] with J = dh/d(W, b)."""
    layer = cast(GaussianLayer, drawn(GaussianLayer(4, [], 3).double()))
    layer.log_std.weight.data.zero_()
    inputs = normal(30, 4)
    with torch.no_grad():
        cache = layer.forward_with_cache(inputs)[1]
        mean, log_std = layer.fisher_samples(cache, torch.Generator())
    extended = torch.cat([inputs, torch.ones(30, 1, dtype=torch.float64)], dim=1)
    std = layer.log_std.bias.detach().exp()
    for sample, precision in ((mean, std**-2), (log_std, torch.full_like(std, 2.0))):
        exact = torch.zeros(15, 15, dtype=torch.float64)
        for row in extended:
            jacobian = torch.kron(torch.eye(3, dtype=torch.float64), row[None])
            exact += jacobian.T @ torch.diag(precision) @ jacobian / 30
        average, moment = moments_of(sample.inputs, binary=False)
        A = torch.ones(5, 5, dtype=torch.float64)
        A[:4, :4], A[4, :4], A[:4, 4] = moment, average, average
        G = torch.diag(output_moment(sample))
        torch.testing.assert_close(torch.kron(G, A), exact)


def assert_signals_are_derivatives(found: list[FisherSample], log_density: Tensor) -> None:
    """Compare sum_r g_r a_r' of each layer with signals, [m, n], with autograd's derivative."""
    signals = [sample for sample in found if not sample.squares]
    assert len(signals) == 2
    gradients = torch.autograd.grad(log_density.sum(), [s.weight for s in signals])
    for sample, gradient in zip(signals, gradients, strict=True):
        torch.testing.assert_close(sample.outputs.T @ sample.inputs, gradient)


def test_signals_of_a_gaussian_layer_are_derivatives_at_labels_of_its_own() -> None:
    layer = cast(GaussianLayer, drawn(GaussianLayer(4, [6, 5], 3).double()))
    inputs = normal(30, 4)
    with torch.no_grad():
        q, cache = layer.forward_with_cache(inputs)
        found = layer.fisher_samples(cache, seeded())
    noise = torch.randn(30, 3, generator=seeded(), dtype=torch.float64)
    label = q.transform(noise)
    q = layer(inputs)
    assert_signals_are_derivatives(found, Normal(q.mean, q.log_std.exp()).log_prob(label))


def test_signals_of_a_bernoulli_layer_are_derivatives_at_labels_of_its_own() -> None:
    layer = cast(BernoulliLayer, drawn(BernoulliLayer(4, [6, 5], 9).double()))
    h, x = normal(1, 30, 4), binary_images(30, 9)
    with torch.no_grad():
        cache = layer.log_density(x, h, keep=True)[1]
        assert cache is not None
        p = layer(h).mean[0]
        found = layer.fisher_samples(cache, seeded())
    uniform = torch.rand(30, 9, generator=seeded(), dtype=torch.float64)
    label = (uniform < p).double()
    logits = layer(h).logits[0]
    assert_signals_are_derivatives(found, Bernoulli(logits=logits).log_prob(label))
    torch.testing.assert_close(found[-1].outputs, p * (1 - p))
    torch.testing.assert_close(found[-1].inputs, cache.network.features)


def new(model: IWAE, **options: Any) -> KFAC:
    return KFAC(model, images=binary_images(20), binarisation=FIXED, **options)


def follow(model: IWAE, optimizer: KFAC, steps: int, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        x = binary_images(20)
        found = model.gradients(x, model.draw_noise(3, 20, generator), Iwae())
        for parameter, gradient in zip(model.parameters(), found.parameters, strict=True):
            parameter.grad = gradient
        if optimizer.wants_factors():
            optimizer.observe(model.fisher_samples(x, generator))
        optimizer.param_groups[0]["lr"] = optimizer.param_groups[-1]["lr"] = 0.05
        optimizer.step()


def test_a_step_of_each_network_has_the_length_of_its_rate_in_the_damped_metric(
    model: IWAE,
) -> None:
    optimizer = new(model, rates=(0.6, 1.0))
    before = [p.detach().clone() for p in model.parameters()]
    follow(model, optimizer, 1)
    moved = dict(zip(model.parameters(), before, strict=True))
    for group, rate in zip(optimizer.param_groups, (0.03, 0.05), strict=True):
        squared = torch.zeros((), dtype=torch.float64)
        for weight, bias in zip(group["params"][::2], group["params"][1::2], strict=True):
            state = optimizer.state[weight]
            dW, db = (moved[p] - p.detach() for p in (weight, bias))
            rest = db + dW @ state["mean"]
            outputs = state["output_inverse"]
            G = torch.linalg.inv(torch.diag(outputs) if outputs.dim() == 1 else outputs)
            S = torch.linalg.inv(state["input_inverse"])
            squared += (dW * (G @ dW @ S)).sum() + rest @ G @ rest
        assert float(squared.sqrt()) == pytest.approx(rate, rel=1e-6)


def test_the_first_layers_inputs_are_those_of_all_images_as_they_are_binarised() -> None:
    grey = 0.9 * torch.rand(5000, 7, generator=seeded()).double()
    mean, moment = moments_of(grey, binary=True)
    exact = grey.T @ grey / len(grey)
    torch.testing.assert_close(mean, grey.mean(0))
    torch.testing.assert_close(
        moment - torch.diag(moment.diagonal()), exact - torch.diag(exact.diagonal())
    )
    torch.testing.assert_close(moment.diagonal(), mean)


def test_without_damping_the_direction_does_not_depend_on_the_basis_of_the_inputs() -> None:
    rows, change = normal(50, 4) + 0.7, torch.eye(4, dtype=torch.float64) + 0.3 * normal(4, 4)
    output = moments_of(normal(50, 3) @ normal(3, 3), binary=False)[1]
    m_weight, m_bias = normal(3, 4), normal(3)
    found = []
    for inputs, momentum in ((rows, m_weight), (rows @ change.T, m_weight @ change.T)):
        mean, moment = moments_of(inputs, binary=False)
        state = {
            "mean": mean,
            "input_inverse": torch.linalg.inv(centred(mean, moment)),
            "output_inverse": torch.linalg.inv(output),
        }
        found.append(natural(state, momentum, m_bias))
    torch.testing.assert_close(found[1][0] @ change, found[0][0])
    torch.testing.assert_close(found[1][1], found[0][1])


def test_a_wide_input_has_a_diagonal_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kronecker, "WIDEST", 6)
    model = tiny_model(ARCHS["one"])
    optimizer = new(model)
    follow(model, optimizer, 3)
    first = model.first_layers()[0].weight
    assert optimizer.state[first]["input_inverse"].shape == (7,)
    assert all(bool(p.isfinite().all()) for p in model.parameters())


def test_layers_without_hidden_units_share_the_images_moments() -> None:
    model = tiny_model(Arch(latents=[3], hidden=[[]]))
    optimizer = new(model)
    assert len(optimizer.known) == 2
    follow(model, optimizer, 3)


def test_parameters_outside_linear_layers_follow_adam() -> None:
    model = linear_iwae()
    optimizer = KFAC(model, images=binary_images(20, 6), binarisation=FIXED, adam_rate=0.1)
    assert optimizer.others == ["recognition.0.A", "recognition.0.c", "recognition.0.s"]
    expected = [p.detach().clone().requires_grad_() for p in model.recognition.parameters()]
    adam = torch.optim.Adam(expected, lr=0.1 * 0.05)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        x = binary_images(20, 6)
        found = model.gradients(x, model.draw_noise(3, 20, generator), Iwae()).parameters
        for parameter, gradient in zip(model.parameters(), found, strict=True):
            parameter.grad = gradient
        for own, gradient in zip(expected, found, strict=False):
            own.grad = gradient
        if optimizer.wants_factors():
            optimizer.observe(model.fisher_samples(x, generator))
        optimizer.param_groups[0]["lr"] = 0.05
        optimizer.step()
        adam.step()
    for parameter, theirs in zip(model.recognition.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter, theirs)
    again = KFAC(model, images=binary_images(20, 6), binarisation=FIXED)
    again.load_state_dict(optimizer.state_dict())
    assert again.adam is not None
    assert len(again.adam.state) == 3


@pytest.mark.parametrize("steps", [3, 11, 26])
def test_a_saved_state_goes_on_bit_for_bit(steps: int) -> None:
    model = tiny_model(ARCHS["two"])
    optimizer = new(model)
    follow(model, optimizer, steps)
    other = copy.deepcopy(model)
    again = new(other)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    follow(model, optimizer, 12, seed=1)
    follow(other, again, 12, seed=1)
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_factor_that_is_not_finite_is_named_with_its_layer_and_step() -> None:
    model = tiny_model(ARCHS["one"])
    optimizer = new(model)
    follow(model, optimizer, 4)
    optimizer.state[model.get_parameter("generative.0.network.0.weight")]["input"][0, 0] = torch.nan
    message = "input factor of generative.0.network.0.weight has no finite inverse at step 5"
    with pytest.raises(NonFiniteError, match=message):
        follow(model, optimizer, 1)
