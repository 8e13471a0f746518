import math
from collections.abc import Sequence
from typing import cast

import numpy as np
import pytest
import torch
from conftest import ARCHS, binary_images, tiny_model
from torch import Tensor, nn
from torch.distributions import Bernoulli, Normal
from torch.nn import functional

from iwae_cli import objectives
from iwae_cli.core.config import ACTIVATIONS, LEAK, Arch
from iwae_cli.models.initialisation import initialise
from iwae_cli.models.iwae import IWAE
from iwae_cli.models.kernels import (
    bernoulli_log_density,
    bernoulli_log_density_backward,
    dense_layers,
    dense_layers_backward,
)
from iwae_cli.models.layers import DenseNetwork

SEED = torch.Generator().manual_seed(3)


def draw(model: IWAE, k: int, B: int, seed: int = 2) -> tuple[Tensor, ...]:
    return model.draw_noise(k, B, torch.Generator().manual_seed(seed))


def test_weights_are_complete_log_densities_as_torch_distributions_gives_them(model: IWAE) -> None:
    x, noise = binary_images(5), draw(model, 6, 5)
    sample = model.importance_sample(x, noise)
    below: Tensor = x.expand(6, 5, -1)
    log_q = torch.zeros(6, 5, dtype=torch.float64)
    log_p = torch.zeros(6, 5, dtype=torch.float64)
    for level, (recognition, generative, h) in enumerate(
        zip(model.recognition, model.generative, sample.latents, strict=True)
    ):
        q = recognition(below)
        log_q += Normal(q.mean, q.log_std.exp()).log_prob(h).sum(-1)
        if level == 0:
            log_p += Bernoulli(logits=generative(h).logits).log_prob(below).sum(-1)
        else:
            p = generative(h)
            log_p += Normal(p.mean, p.log_std.exp()).log_prob(below).sum(-1)
        below = h
    log_p += Normal(0.0, 1.0).log_prob(below).sum(-1)
    torch.testing.assert_close(sample.log_q_h_given_x, log_q)
    torch.testing.assert_close(sample.log_w, log_p - log_q)
    torch.testing.assert_close(model.log_q_h_given_x(x, sample.latents), log_q)


def test_weights_average_to_the_exact_likelihood_on_a_grid_of_latents() -> None:
    model = tiny_model(Arch(latents=[1], hidden=[[4]]), pixels=5)
    x = binary_images(3, pixels=5)
    grid = torch.linspace(-12, 12, 20001, dtype=torch.float64)
    h = grid[:, None, None].expand(-1, 3, 1)
    with torch.no_grad():
        joint = model.log_p_x_and_h(x, [h])
        exact = torch.logsumexp(joint, 0) + math.log(float(grid[1] - grid[0]))
        log_w = model.importance_sample(x, draw(model, 400_000, 3)).log_w
    weights = torch.exp(log_w - exact)
    standard_error = weights.std(0) / math.sqrt(len(weights))
    assert bool(((weights.mean(0) - 1).abs() < 5 * standard_error).all())
    assert bool((standard_error < 0.01).all())


def test_first_recognition_layer_runs_once_an_image(model: IWAE) -> None:
    shapes: list[torch.Size] = []
    model.recognition[0].register_forward_pre_hook(lambda _, inputs: shapes.append(inputs[0].shape))
    model.importance_sample(binary_images(5), draw(model, 6, 5))
    assert shapes == [(5, 7)]


def test_forward_pass_takes_other_parameters_and_stacks_of_them(model: IWAE) -> None:
    x, noise = binary_images(4), draw(model, 3, 4)
    own = {name: p.detach() for name, p in model.named_parameters()}
    other = {name: 0.5 * p for name, p in own.items()}

    def log_w(parameters: dict[str, Tensor]) -> Tensor:
        return cast(Tensor, torch.func.functional_call(model, parameters, (x, noise)).log_w)

    stacked = {name: torch.stack([own[name], other[name]]) for name in own}
    both = torch.func.vmap(log_w)(stacked)
    torch.testing.assert_close(both[0], model.importance_sample(x, noise).log_w.detach())
    torch.testing.assert_close(both[1], log_w(other))
    assert not torch.allclose(both[0], both[1])


def test_glorot_weights_fill_their_interval_and_biases_start_at_zero() -> None:
    model = IWAE(784, Arch(output_bias=False))
    initialise(model, "glorot", generator=torch.Generator().manual_seed(0), mean_image=None)
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            bound = math.sqrt(6 / (layer.in_features + layer.out_features))
            assert 0.99 * bound < float(layer.weight.detach().abs().max()) <= bound
            assert float(layer.weight.detach().var()) == pytest.approx(bound**2 / 3, rel=0.05)
            assert not bool(layer.bias.any())


def test_output_bias_gives_back_the_clipped_mean_image_at_zero_features() -> None:
    model = IWAE(3, ARCHS["two"])
    mean = torch.tensor([0.0, 0.3, 1.0])
    initialise(model, "glorot", generator=torch.Generator().manual_seed(0), mean_image=mean)
    bias = cast(Tensor, model.generative[0].get_parameter("logits.bias"))
    torch.testing.assert_close(torch.sigmoid(bias.detach()), torch.tensor([0.001, 0.3, 0.999]))


def test_original_code_draws_every_layer_of_a_shape_alike_from_numpys_seed_123() -> None:
    model = IWAE(784, Arch(latents=[100, 50], hidden=[[200, 200], [100, 100]]))
    initialise(model, "original_code", generator=SEED, mean_image=None)
    linear = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    by_shape: dict[tuple[int, ...], list[Tensor]] = {}
    for layer in linear:
        by_shape.setdefault(tuple(layer.weight.shape), []).append(layer.weight)
    assert max(map(len, by_shape.values())) > 1
    for weights in by_shape.values():
        assert all(torch.equal(weights[0], other) for other in weights)
    first = np.random.RandomState(123).uniform(-1, 1, 2) * math.sqrt(6 / 984)
    np.testing.assert_allclose(linear[0].weight[:2, 0].detach(), first, rtol=1e-6)


def normal(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("pixels", [1, 64, 112, 230])
def test_bernoulli_log_density_and_its_gradient_are_exact(pixels: int) -> None:
    x = binary_images(3, pixels)
    inputs = [v.requires_grad_() for v in (normal(12, 5), normal(pixels, 5), normal(pixels))]
    features, weight, bias = inputs
    logits = (features @ weight.T + bias).view(4, 3, pixels)
    expected = Bernoulli(logits=logits).log_prob(x).sum(-1)
    gradients = torch.autograd.grad(-expected.sum(), inputs)
    shaped = features.unflatten(0, (4, 3)), weight, bias
    plain, _ = bernoulli_log_density(x, *shaped)
    torch.testing.assert_close(plain, expected)
    with torch.no_grad():
        found, cache = bernoulli_log_density(x, *shaped, keep=True)
        assert cache is not None
        gradient = bernoulli_log_density_backward(cache, features, torch.ones(12, 1, dtype=x.dtype))
    torch.testing.assert_close(found, expected)
    for ours, exact in zip((gradient.inputs, *gradient.parameters), gradients, strict=True):
        torch.testing.assert_close(ours, exact)


def assert_close_to_largest(found: Sequence[Tensor], exact: Sequence[Tensor], at: float) -> None:
    """Assert that each tensor differs from the exact one by less than `at` times its largest."""
    for ours, theirs in zip(found, exact, strict=True):
        error = (ours.double() - theirs).abs().max()
        assert float(error / theirs.abs().max()) < at


in_each_precision = pytest.mark.parametrize(
    ("dtype", "at"), [(torch.float32, 2e-5), (torch.bfloat16, 2e-2)], ids=["float32", "bfloat16"]
)


@pytest.mark.parametrize("rows", [(1, 3), (20, 5), (60, 5)], ids=str)
@in_each_precision
def test_fast_bernoulli_kernel_is_the_plain_mathematics_gradients_included(
    rows: tuple[int, int], dtype: torch.dtype, at: float
) -> None:
    """Against float64 on the same, already rounded inputs of a layer of the paper's size."""
    k, B = rows
    x = (normal(B, 784) > 0.5).double()
    drawn = normal(k * B, 200).tanh(), normal(784, 200) / 8, normal(784)
    inputs = [v.to(dtype) for v in drawn]
    exact = [v.double().requires_grad_() for v in inputs]
    logits = (exact[0] @ exact[1].T + exact[2]).view(k, B, 784)
    log_p = Bernoulli(logits=logits).log_prob(x).sum(-1)
    descent = torch.linspace(-1, 1, k * B).to(dtype).view(-1, 1)
    gradients = list(torch.autograd.grad(-log_p.sum(), exact, retain_graph=True))
    gradients[1:] = torch.autograd.grad(-(log_p * descent.view(k, B).double()).sum(), exact[1:])
    with torch.no_grad():
        shaped = inputs[0].unflatten(0, rows), *inputs[1:]
        found, cache = bernoulli_log_density(x.float(), *shaped, keep=True)
        assert cache is not None
        gradient = bernoulli_log_density_backward(cache, inputs[0], descent)
    assert found.dtype == torch.float32
    ours = [found, gradient.inputs, *gradient.parameters]
    assert_close_to_largest(ours, [log_p.detach(), *gradients], at)


@pytest.mark.parametrize("rows", [3, 100, 300])
@pytest.mark.parametrize("weighted", [False, True], ids=["alike", "weighted"])
@in_each_precision
def test_fast_dense_layers_are_the_plain_mathematics_gradients_included(
    rows: int, weighted: bool, dtype: torch.dtype, at: float
) -> None:
    """784, 200 and 50 units: products of every size; the rows may count differently."""
    drawn = normal(784, 200).T / 20, normal(200), normal(200, 50).T / 15, normal(50)
    parameters = [v.to(dtype) for v in drawn]
    inputs = normal(rows, 784).to(dtype)
    weight = torch.linspace(-1, 1, rows).to(dtype).view(-1, 1) if weighted else None
    exact = [v.double().requires_grad_() for v in (inputs, *parameters)]
    expected = torch.tanh(torch.tanh(exact[0] @ exact[1].T + exact[2]) @ exact[3].T + exact[4])
    grad = normal(rows, 50).to(dtype)
    outer = grad.double() if weight is None else (grad * weight).double()
    gradients = list(torch.autograd.grad(expected, exact, outer, retain_graph=True))
    gradients[:1] = torch.autograd.grad(expected, exact[:1], grad.double())
    with torch.no_grad():
        cache = dense_layers(inputs, parameters, dtype)
        gradient = dense_layers_backward(cache, grad, of_inputs=True, row_weights=weight)
    ours = [cache.features, gradient.inputs, *gradient.parameters]
    assert_close_to_largest(ours, [expected.detach(), *gradients], at)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_derivative_of_each_activation_is_that_of_autograd(activation: str) -> None:
    theirs = nn.LeakyReLU(LEAK) if activation == "leaky_relu" else getattr(functional, activation)
    exact = [normal(*shape).double().requires_grad_() for shape in ((9, 4), (5, 4), (5,))]
    expected = theirs(exact[0] @ exact[1].T + exact[2])
    grad = normal(9, 5).double()
    with torch.no_grad():
        cache = dense_layers(exact[0], exact[1:], torch.float64, activation)
        gradient = dense_layers_backward(cache, grad, of_inputs=True)
    torch.testing.assert_close(cache.features, expected)
    ours = [gradient.inputs, *gradient.parameters]
    for one, other in zip(ours, torch.autograd.grad(expected, exact, grad), strict=True):
        torch.testing.assert_close(one, other)


def test_every_layer_of_a_model_has_its_activation() -> None:
    arch = Arch(latents=[3, 2], hidden=[[4], [5]], activation="relu")
    layers = [m for m in IWAE(7, arch).modules() if isinstance(m, DenseNetwork)]
    assert [layer.activation for layer in layers] == ["relu"] * 4


@pytest.mark.parametrize("name", ["iwae", "dreg", "piwae"])
def test_gradients_in_bfloat16_point_where_those_in_float64_do(name: str) -> None:
    """One step of the paper's network, k = 20 and batch 20: 400 rows."""
    generator = torch.Generator().manual_seed(0)
    model = IWAE(784, Arch())
    initialise(model, "glorot", generator=generator, mean_image=torch.full((784,), 0.2))
    x = (torch.rand(20, 784, generator=generator) < 0.2).float()
    noise = model.draw_noise(20, 20, generator)
    exact = IWAE(784, Arch()).double()
    exact.load_state_dict(model.state_dict())
    objective = objectives.find(name)()
    found = model.multiply_in(torch.bfloat16).gradients(x, noise, objective)
    expected = exact.gradients(x.double(), [n.double() for n in noise], objective)
    torch.testing.assert_close(found.bound.double(), expected.bound, rtol=0, atol=0.5)
    for own, other in zip(found.parameters, expected.parameters, strict=True):
        assert own.dtype == torch.float32
        cosine = torch.cosine_similarity(own.double().flatten(), other.flatten(), dim=0)
        assert float(cosine) > 0.99


def test_bernoulli_log_density_stays_exact_in_float32_for_saturated_pixels() -> None:
    x = torch.tensor([[1.0, 0.0, 1.0, 0.0] * 100])
    features, bias = torch.zeros(1, 1, 2), torch.tensor([80.0, 80.0, -80.0, -80.0] * 100)
    with torch.no_grad():
        found, _ = bernoulli_log_density(x, features, torch.zeros(400, 2), bias)
    torch.testing.assert_close(found, torch.tensor([[-16000.0]]))


def test_posterior_means_are_those_of_the_first_stochastic_layer(model: IWAE) -> None:
    x = binary_images(4)
    zero = tuple(torch.zeros_like(epsilon) for epsilon in draw(model, 1, 4))
    expected = model.importance_sample(x, zero).latents[0][0]
    torch.testing.assert_close(model.posterior_means(x), expected.detach())
