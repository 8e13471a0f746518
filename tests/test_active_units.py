from typing import cast

import numpy as np
import pytest
import torch
from conftest import ARCHS, binary_images, tiny_model

from iwae_cli.core.config import Arch
from iwae_cli.data.binarisation import DYNAMIC, FIXED
from iwae_cli.evaluation.active_units import unit_variances
from iwae_cli.evaluation.likelihood import log_likelihoods
from iwae_cli.evaluation.noise import EvaluationNoise
from iwae_cli.models.iwae import IWAE
from iwae_cli.models.layers import DenseNetwork
from iwae_cli.models.pruning import without_units


def linear_model(latents: list[int]) -> IWAE:
    """Return a model without hidden layers: each mean is linear in the layer below."""
    return tiny_model(Arch(latents=latents, hidden=[[] for _ in latents]))


def heads(model: IWAE, level: int) -> tuple[torch.Tensor, torch.Tensor]:
    layer = model.recognition[level]
    return layer.get_parameter("mean.weight").data, layer.get_parameter("log_std.bias").data


def test_first_layer_variance_is_that_of_a_linear_mean() -> None:
    model, x = linear_model([4]), binary_images(50)
    weight, _ = heads(model, 0)
    expected = (x @ weight.T).var(0, correction=0)
    found = unit_variances(model, x.float().numpy(), samples=1, seed=0, binarisation=FIXED)
    torch.testing.assert_close(found[0], expected, rtol=1e-6, atol=1e-8)


def test_correction_removes_the_inflation_by_sampling_in_the_second_layer() -> None:
    """Mean of h2 is linear in h1, so E_q[h2 | x] and its variance are exact; tolerance 5 sd."""
    model, x = linear_model([4, 3]), binary_images(200)
    weight1, _ = heads(model, 0)
    weight2, _ = heads(model, 1)
    exact = (x @ weight1.T @ weight2.T).var(0, correction=0)
    images = x.float().numpy()
    corrected, raw = np.zeros((40, 3)), np.zeros((40, 3))
    for seed in range(40):
        few = unit_variances(model, images, samples=4, seed=seed, binarisation=FIXED)[1]
        one = unit_variances(model, images, samples=1, seed=seed, binarisation=FIXED)[1]
        corrected[seed], raw[seed] = few.numpy(), one.numpy()
    error = corrected.std(0, ddof=1) / np.sqrt(40)
    assert (np.abs(corrected.mean(0) - exact.numpy()) < 5 * error).all()
    assert (raw.mean(0) > exact.numpy() + 0.1).all()


def test_a_unit_that_ignores_the_image_has_zero_variance() -> None:
    model = linear_model([4])
    heads(model, 0)[0][2] = 0
    found = unit_variances(
        model, binary_images(30).float().numpy(), samples=1, seed=0, binarisation=DYNAMIC
    )
    assert float(found[0][2]) == pytest.approx(0, abs=1e-12)
    assert bool((found[0][[0, 1, 3]] > 1e-3).all())


@pytest.mark.parametrize("arch", list(ARCHS))
def test_removing_units_that_nothing_reads_and_that_equal_their_prior_changes_nothing(
    arch: str,
) -> None:
    """Unit 0 of each layer has q equal to its prior or conditional, and no network reads it."""
    model = tiny_model(ARCHS[arch])
    levels = len(model.latents)
    for level in range(levels):
        q = model.recognition[level]
        conditional = model.generative[level + 1] if level + 1 < levels else None
        for layer in [q] if conditional is None else [q, conditional]:
            for head in ("mean", "log_std"):
                layer.get_parameter(f"{head}.weight").data[0] = 0
                layer.get_parameter(f"{head}.bias").data[0] = 0
        readers = [model.generative[level]]
        readers += [model.recognition[level + 1]] if level + 1 < levels else []
        for reader in readers:
            size = model.latents[level]
            linear = [m for m in reader.modules() if isinstance(m, torch.nn.Linear)]
            hidden = len(cast(DenseNetwork, reader.network)) > 0
            for first in linear[:1] if hidden else linear:
                assert first.in_features == size
                first.weight.data[:, 0] = 0
    images = binary_images(4).float().numpy()
    kept = [torch.arange(1, size) for size in model.latents]
    pruned = without_units(model, kept)
    whole = log_likelihoods(model, images, ks=[300], binarisation=FIXED)[0]
    noise = EvaluationNoise(0, model.latents, units=kept)
    fewer = log_likelihoods(pruned, images, ks=[300], noise=noise, binarisation=FIXED)[0]
    np.testing.assert_allclose(fewer.log_p, whole.log_p, rtol=1e-10)
    assert sum(p.numel() for p in pruned.parameters()) < sum(p.numel() for p in model.parameters())


def test_removing_a_unit_that_is_used_changes_the_likelihood() -> None:
    model = tiny_model(ARCHS["one"])
    kept = [torch.tensor([0, 2])]
    images = binary_images(4).float().numpy()
    noise = EvaluationNoise(0, model.latents, units=kept)
    whole = log_likelihoods(model, images, ks=[500], binarisation=FIXED)[0]
    pruned = without_units(model, kept)
    fewer = log_likelihoods(pruned, images, ks=[500], noise=noise, binarisation=FIXED)[0]
    assert float(np.abs(whole.log_p - fewer.log_p).max()) > 1e-3
    assert model.latents == (3,), "the model itself is left alone"


def test_a_model_without_any_active_unit_is_still_a_density() -> None:
    model = tiny_model(ARCHS["two"])
    kept = [torch.tensor([], dtype=torch.long)] * 2
    noise = EvaluationNoise(0, model.latents, units=kept)
    images = binary_images(3).float().numpy()
    found = log_likelihoods(
        without_units(model, kept), images, ks=[5], noise=noise, binarisation=FIXED
    )
    np.testing.assert_allclose(found[0].ess, 5, rtol=1e-9)
