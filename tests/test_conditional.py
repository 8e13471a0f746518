"""Layers whose derivatives are autograd's beside the ones that are written out."""

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, binary_images, settings, tiny_model
from estimators import CASES, Case
from torch import Tensor, nn

import iwae_cli
from iwae_cli import objectives
from iwae_cli.core.config import Arch
from iwae_cli.core.errors import ConfigError
from iwae_cli.evaluation.evaluate import evaluate
from iwae_cli.models.conditional import ConditionalLayer
from iwae_cli.models.distributions import Bernoulli, Gaussian
from iwae_cli.models.initialisation import initialise
from iwae_cli.models.iwae import IWAE, uniform_shape
from iwae_cli.models.layers import GaussianLayer
from iwae_cli.runs.checkpoint_file import read_content
from iwae_cli.training import run as training

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


PAGE = (ROOT / "docs" / "extending.md").read_text()
IMPORTS = """
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple
import torch
from torch import Tensor, nn
from iwae_cli.models.conditional import ConditionalLayer
from iwae_cli.models.distributions import Bernoulli, Gaussian
from iwae_cli.models.likelihoods.base import Likelihood
from iwae_cli.models.likelihoods.dense import DensePixels
"""


def of_the_page(*first_lines: str) -> tuple[dict[str, Any], int]:
    """Return the names that code of docs/extending.md defines, and how many lines it has."""
    blocks = re.findall(r"(?:^    .*\n|^\n)+", PAGE, re.MULTILINE)
    names: dict[str, Any] = {"__name__": __name__}
    code = [textwrap.dedent(b) for b in blocks if b.strip("\n").lstrip().startswith(first_lines)]
    assert len(code) == len(first_lines)
    exec(IMPORTS + "".join(code), names)
    return names, sum(len(block.strip().splitlines()) for block in code)


def check_against_autograd(model: IWAE, x: Tensor) -> None:
    """Check the gradients of a bound, those of the whole of it by autograd beside them."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.05, generator=torch.Generator().manual_seed(1))
    noise = model.draw_noise(3, len(x), torch.Generator().manual_seed(2))
    objective = objectives.find("iwae")()
    bound = objective.bound(model.importance_sample(x, noise).log_w)
    expected = torch.autograd.grad(-bound.mean(), list(model.parameters()))
    found = model.gradients(x, noise, objective)
    for ours, theirs in zip(found.parameters, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_convolutional_pair_of_the_documentation_trains_and_is_short() -> None:
    names, lines = of_the_page("class Convolutional(Cond", "class ConvolutionalPixels")
    assert lines < 40
    model = IWAE(784, Arch(latents=[3], hidden=[[]]))
    model.recognition = nn.ModuleList([names["Convolutional"](784, [], 3, "tanh")])
    model.generative = nn.ModuleList([names["ConvolutionalPixels"](3)])
    check_against_autograd(model.double(), binary_images(2, 784))


@pytest.mark.parametrize("latents", [[3], [4, 3]], ids=["one", "two"])
def test_the_convolutional_encoder_has_the_gradients_of_autograd(latents: list[int]) -> None:
    arch = Arch(latents=latents, hidden=[[6]] * len(latents), encoder="convolutional")
    check_against_autograd(IWAE(64, arch).double(), binary_images(2, 64))


def test_parameters_of_other_layers_start_from_the_runs_seed() -> None:
    def started(seed: int) -> Tensor:
        model = IWAE(64, Arch(latents=[3], hidden=[[6]], encoder="convolutional"))
        generator = torch.Generator().manual_seed(seed)
        initialise(model, "glorot", generator=generator, mean_image=None)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    assert torch.equal(started(0), started(0))
    assert not torch.equal(started(0), started(1))


@pytest.mark.parametrize("pixels", [63, 36 + 1, 49])
def test_a_convolutional_encoder_says_which_images_it_takes(pixels: int) -> None:
    with pytest.raises(ConfigError, match=f"sides that 4 divides, got {pixels} pixels"):
        IWAE(pixels, Arch(encoder="convolutional"))


def test_a_convolutional_run_is_evaluated_checked_and_the_same_again(tmp_path: Path) -> None:
    arch = {"latents": [3], "hidden": [[8]], "encoder": "convolutional"}
    runs = [
        training.run(settings(tmp_path / name, arch=arch, optimizer={"name": "kfac", "passes": 1}))
        for name in ("one", "other")
    ]
    first, second = (read_content(run.folder / "checkpoint.pt")["model"] for run in runs)
    assert all(torch.equal(first[name], second[name]) for name in first)
    evaluate(runs[0].folder, k=[3], limit=20)
    checks = iwae_cli.verify(runs[0].folder)
    assert checks["holds"].all(), checks


def test_every_command_reads_a_convolutional_run(tmp_path: Path) -> None:
    arch = {"latents": [4, 3], "hidden": [[8], [6]], "encoder": "convolutional"}
    optimizer = {"name": "kfac", "passes": 1}
    run = training.run(settings(tmp_path, arch=arch, optimizer=optimizer)).folder
    evaluate(run, k=[20], limit=10, proposal="laplace")
    evaluate(run, estimator="ais,temperatures=5,chains=2,leapfrogs=2", limit=5)
    counted = iwae_cli.active_units(run, check=True, k=5, samples=2, threshold=0.05, limit=20)
    assert abs(counted["check"]["difference"]) < 5
    rows = iwae_cli.gradients(run, draws=3, k=[2], images=4)
    assert all(row["variance"] > 0 for row in rows)
    assert iwae_cli.sandwich(run, k=5, images=4) is not None


def test_the_likelihood_of_the_documentation_is_a_density_with_its_derivative() -> None:
    names, _ = of_the_page("class Laplace(NamedTuple)")
    model = IWAE(6, ARCHS[1], names["LaplacePixels"](scale=0.3)).double()
    check_against_autograd(model, binary_images(4, 6) - 0.3)
    layer = model.generative[0]
    p = layer.distribution(torch.zeros(20_001, 1).double())  # type: ignore[operator]
    x = torch.linspace(-9, 9, 20_001).double().unsqueeze(-1)
    assert float(torch.trapezoid(p.log_density(x).exp(), x[:, 0])) == pytest.approx(1, abs=1e-5)
    drawn = layer.draw(  # type: ignore[operator]
        torch.zeros(50_000, 1).double(), torch.Generator().manual_seed(0)
    )
    assert float(drawn.abs().mean()) == pytest.approx(0.3, abs=0.01)  # 7 standard errors
    assert len(model.fisher_samples(binary_images(4, 6), torch.Generator().manual_seed(0))) > 0
