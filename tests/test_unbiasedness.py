"""Gradient estimators against the gradient they should have in expectation, by paired statistics.

Both estimators see the same noise. Each of BATCHES means over COPIES draws gives the difference of
the two gradients on PROJECTIONS random directions of one network's parameters; each direction's
mean over its standard error is about t-distributed. With 8 directions and LIMIT = 4.5 an unbiased
estimator is called biased once in 1e4 tests.
"""

import pytest
import torch
from conftest import ARCHS, binary_images, tiny_model
from torch import Tensor

from iwae_cli import objectives
from iwae_cli.models.iwae import IWAE, Gradients
from iwae_cli.objectives.base import Objective, Weights

COPIES, BATCHES, PROJECTIONS, LIMIT, K = 100, 200, 8, 4.5, 4
PAIRS = [("dreg", "iwae"), ("iwae_one_sample", "iwae"), ("rws_dreg", "rws"), ("stl", "iwae")]
PAIRS += [("vr_dreg", "vr"), ("vimco", "iwae")]


def statistics(
    first: IWAE, second: IWAE, objective: Objective, target: Objective, network: str
) -> Tensor:
    """Return the paired t-statistics of two estimators on random directions, [PROJECTIONS]."""
    generator = torch.Generator().manual_seed(0)
    x = binary_images(2).repeat(COPIES // 2, 1)
    differences = []
    for _ in range(BATCHES):
        noise = first.draw_noise(K, len(x), generator)
        uniform = torch.rand(len(x), generator=generator, dtype=torch.float64)
        both = []
        for model, one in ((first, objective), (second, target)):
            found = model.gradients(x, noise, one, uniform=uniform).parameters
            of = dict(zip(model.parameters(), found, strict=True))
            parameters = model.get_submodule(network).parameters()
            both.append(torch.cat([of[p].flatten() for p in parameters]))
        differences.append(both[0] - both[1])
    stacked = torch.stack(differences)
    size = stacked.shape[1]
    directions = torch.randn(size, PROJECTIONS, generator=generator, dtype=torch.float64)
    projected = stacked @ directions
    statistic: Tensor = projected.mean(0) / (projected.std(0) / BATCHES**0.5)
    return statistic


@pytest.mark.parametrize("arch", ["one", "two"])
@pytest.mark.parametrize(("name", "target"), PAIRS)
def test_encoder_gradient_has_the_targets_expectation_and_stl_has_not(
    name: str, target: str, arch: str
) -> None:
    model = tiny_model(ARCHS[arch])
    found = statistics(
        model, model, objectives.find(name)(), objectives.find(target)(), "recognition"
    )
    biased = bool((found.abs() > LIMIT).any())
    assert biased == (name == "stl"), found


@pytest.mark.parametrize("arch", ["one", "two"])
def test_decoder_gradient_of_one_sample_has_the_expectation_of_iwae(arch: str) -> None:
    model = tiny_model(ARCHS[arch])
    one, iwae = objectives.find("iwae_one_sample")(), objectives.find("iwae")()
    found = statistics(model, model, one, iwae, "generative")
    assert bool((found.abs() < LIMIT).all()), found


class RescaledOnThePath(IWAE):
    """The mistake: gradients are rescaled on the latents themselves, also on the way h1 -> h2."""

    def gradients(self, x, noise, objective, **_):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN003, ANN201
        """Follow dreg with one hook on each layer's latents."""
        latents: list[Tensor] = []
        log_q = torch.zeros((), dtype=x.dtype)
        weights: list[Weights] = []

        def rescale(gradient: Tensor) -> Tensor:
            return (weights[0].b / weights[0].a).unsqueeze(-1) * gradient

        below = x
        for layer, epsilon in zip(self.recognition, noise, strict=True):
            q = layer(below)
            below = q.transform(epsilon)
            below.register_hook(rescale)
            constant = {name: p.detach() for name, p in layer.named_parameters()}
            inputs = latents[-1] if latents else x
            log_q = log_q + torch.func.functional_call(layer, constant, (inputs,)).log_density(
                below
            )
            latents.append(below)
        log_w = self.log_p_x_and_h(x, latents) - log_q
        weights.append(objective.weights(log_w.detach()))
        loss = torch.sum(-weights[0].a / len(x) * log_w)
        found = torch.autograd.grad(loss, list(self.parameters()))
        return Gradients(objective.bound(log_w.detach()), list(found))


@pytest.mark.parametrize(("arch", "biased"), [("one", False), ("two", True)])
def test_rescaling_on_the_path_between_layers_is_caught(arch: str, biased: bool) -> None:
    """With one layer the mistake has nothing to act on, and the variant is right."""
    right, wrong = strongly_coupled(IWAE, arch), strongly_coupled(RescaledOnThePath, arch)
    dreg, iwae = objectives.find("dreg")(), objectives.find("iwae")()
    found = statistics(wrong, right, dreg, iwae, "recognition")
    assert bool((found.abs() > LIMIT).any()) == biased, found


def strongly_coupled(kind: type[IWAE], arch: str) -> IWAE:
    """Return a model whose second layer of latents depends strongly on the first."""
    model = kind(7, ARCHS[arch]).double()
    model.load_state_dict(tiny_model(ARCHS[arch]).state_dict())
    for name, parameter in model.named_parameters():
        if name.startswith("recognition.1.") and "log_std" not in name:
            parameter.data.mul_(4)
    return model
