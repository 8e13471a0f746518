"""Layers whose derivatives are autograd's beside the ones that are written out."""

from typing import Any

import pytest
import torch
from conftest import binary_images, tiny_model
from estimators import CASES, Case
from torch import Tensor, nn

from iwae_cli import objectives
from iwae_cli.core.config import Arch
from iwae_cli.models.conditional import ConditionalLayer
from iwae_cli.models.distributions import Bernoulli, Gaussian
from iwae_cli.models.iwae import IWAE, uniform_shape
from iwae_cli.models.layers import GaussianLayer

ARCHS = [Arch(latents=[3], hidden=[[6]]), Arch(latents=[4, 3], hidden=[[6], [5]])]


class ByAutograd(ConditionalLayer[Any]):
    """The same density as a dense layer's, with `forward` alone."""

    def __init__(self, layer: Any) -> None:  # noqa: ANN401  (either kind of dense layer)
        super().__init__()
        self.network = layer.network
        self.heads = nn.ModuleList(
            [layer.mean, layer.log_std] if isinstance(layer, GaussianLayer) else [layer.logits]
        )

    def forward(self, inputs: Tensor) -> Gaussian | Bernoulli:
        hidden = inputs
        for linear in self.network:
            hidden = torch.tanh(linear(hidden))
        found = [head(hidden) for head in self.heads]
        return Gaussian(*found) if len(found) == 2 else Bernoulli(*found)


def by_autograd(model: IWAE) -> IWAE:
    """Return a model of the same parameters, in the same order, without derivatives by hand."""
    other = IWAE(
        model.data_dim, Arch(latents=list(model.latents), hidden=[[]] * len(model.latents))
    )
    other.recognition = nn.ModuleList(ByAutograd(layer) for layer in model.recognition)
    other.generative = nn.ModuleList(ByAutograd(layer) for layer in model.generative)
    return other


@pytest.mark.parametrize("all_rows", [True, False], ids=["all rows", "lottery"])
@pytest.mark.parametrize("arch", ARCHS, ids=["one", "two"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_layer_with_forward_alone_has_the_gradients_written_out(
    case: Case, arch: Arch, all_rows: bool
) -> None:
    model = tiny_model(arch)
    k, B = 8, 5
    x = binary_images(B, model.data_dim)
    generator = torch.Generator().manual_seed(3)
    noise = model.draw_noise(k, B, generator)
    objective = case.objective()
    shape = uniform_shape(objective, k=k, images=B, all_rows=all_rows)
    uniform = None if shape is None else torch.rand(shape, generator=generator)
    ours, other = (
        gradients_of(one, x, noise, objective, all_rows, uniform)
        for one in (model, by_autograd(model))
    )
    torch.testing.assert_close(other.bound, ours.bound)
    for one, two in zip(other.parameters, ours.parameters, strict=True):
        torch.testing.assert_close(one, two)


def gradients_of(
    model: IWAE,
    x: Tensor,
    noise: Any,  # noqa: ANN401  (of each stochastic layer)
    objective: Any,  # noqa: ANN401  (any estimator)
    all_rows: bool,
    uniform: Tensor | None,
) -> Any:  # noqa: ANN401  (Gradients)
    with torch.inference_mode():
        return model.gradients(x, noise, objective, all_rows=all_rows, uniform=uniform)


def test_a_layer_needs_no_linear_layers_for_a_natural_gradient() -> None:
    model = by_autograd(tiny_model(ARCHS[1]))
    found = model.fisher_samples(binary_images(4), torch.Generator().manual_seed(0))
    assert found == []
    assert model.linear_layers() == ([], [])


class ConvolutionalRecognition(ConditionalLayer[Gaussian]):
    """q(h | x) of images of 6 x 4 pixels, as in docs/extending.md."""

    def __init__(self, latents: int) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Unflatten(-1, (1, 6, 4)),
            nn.Conv2d(1, 2, 3, padding=1),
            nn.Tanh(),
            nn.Flatten(-3),
            nn.Linear(48, 2 * latents),
        )

    def forward(self, inputs: Tensor) -> Gaussian:
        return Gaussian(*self.network(inputs).chunk(2, dim=-1))


def test_a_convolutional_layer_trains_with_dense_ones() -> None:
    """Against autograd of the whole bound."""
    model = IWAE(24, Arch(latents=[3], hidden=[[5]])).double()
    model.recognition = nn.ModuleList([ConvolutionalRecognition(3).double()])
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(1))
    x, noise = binary_images(4, 24), model.draw_noise(6, 4, torch.Generator().manual_seed(2))
    objective = objectives.find("iwae")()
    bound = objective.bound(model.importance_sample(x, noise).log_w)
    expected = torch.autograd.grad(-bound.mean(), list(model.parameters()))
    found = model.gradients(x, noise, objective)
    for ours, theirs in zip(found.parameters, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
