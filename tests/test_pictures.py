"""Arrays for pictures against the truth: densities, ancestral samples, weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ARCHS, binary_images, tiny_model
from matplotlib.image import imread
from torch import Tensor
from torch.distributions import Bernoulli, Normal

from iwae_cli.core.config import Arch
from iwae_cli.data.binarisation import DYNAMIC
from iwae_cli.data.dataset import Dataset
from iwae_cli.evaluation import visualisation as drawn
from iwae_cli.evaluation.visualisation import GRID, pictures, posterior_densities, prior_samples
from iwae_cli.models.iwae import IWAE
from iwae_cli.models.likelihoods.gaussian import GaussianPixels
from iwae_cli.reports.figures.images import image_grid
from iwae_cli.reports.figures.style import save_png

CELL = (GRID[1] - GRID[0]) ** 2
TWO = Arch(latents=[2], hidden=[[5]])
DENSITIES = {"posterior_x", "posterior_axes", "true_posterior", "recognition"}


def dataset(shape: tuple[int, int] | None, *, pixels: int = 6, test: int = 30) -> Dataset:
    grey = np.random.default_rng(3).random((60, pixels), dtype=np.float32)
    return Dataset(
        name="noise",
        label="noise",
        binarisation=DYNAMIC,
        train=grey[:20],
        valid=grey[20:30],
        test=grey[30 : 30 + test],
        image_shape=shape,
    )


def test_pictures_of_real_values_run_from_the_lowest_to_the_highest() -> None:
    noise = dataset((2, 3))
    real = replace(noise, train=noise.train * 40 - 20, test=noise.test * 40 - 20)
    model = tiny_model(TWO, pixels=6, likelihood=GaussianPixels())
    found = pictures(model, real, seed=0)
    scaled = (real.test[:20] - real.train.min()) / (real.train.max() - real.train.min())
    np.testing.assert_allclose(found["originals"].reshape(-1, 6), scaled.clip(0, 1), atol=1e-6)
    for name in ("samples", "reconstructions", "posterior_x"):
        assert 0 <= found[name].min() <= found[name].max() <= 1
    head = model.generative[0].get_parameter("mean.weight").T
    np.testing.assert_allclose(found["last_layer_weights"].reshape(-1, 6), head.detach().float())


def log_joint(model: IWAE, x: Tensor, h: Tensor) -> Tensor:
    """Return log p(x, h) by torch's own distributions."""
    logits = model.generative[0](h).logits
    log_p: Tensor = Bernoulli(logits=logits).log_prob(x).sum(-1)
    log_p = log_p + Normal(0.0, 1.0).log_prob(h).sum(-1)
    return log_p


def test_densities_of_two_latents_integrate_to_one() -> None:
    model = tiny_model(TWO)
    model.recognition[0].log_std.bias.data.sub_(1.5)  # type: ignore[union-attr, operator]
    true, recognition = posterior_densities(model, binary_images(4), GRID, GRID)
    assert true.sum((1, 2), dtype=float) * CELL == pytest.approx(np.ones(4), abs=1e-6)
    assert recognition.sum((1, 2), dtype=float) * CELL == pytest.approx(np.ones(4), abs=1e-3)


def test_the_posterior_is_the_prior_where_the_generative_network_ignores_the_latents() -> None:
    model = tiny_model(TWO)
    model.generative[0].network[0].weight.data.zero_()  # type: ignore[union-attr, index]
    true, _ = posterior_densities(model, binary_images(3), GRID, GRID)
    normal = np.exp(-(GRID**2) / 2) / np.sqrt(2 * np.pi)
    # 1.3e-4 of the prior lies outside the grid
    np.testing.assert_allclose(true, np.broadcast_to(np.outer(normal, normal), true.shape), 2e-4)


def test_the_posterior_is_proportional_to_the_joint_density_with_the_first_latent_along_rows() -> (
    None
):
    model, x = tiny_model(TWO), binary_images(2)
    first, second = np.linspace(-3, 2, 11), np.linspace(-1, 4, 7)
    true, recognition = posterior_densities(model, x, first, second)
    assert true.shape == recognition.shape == (2, 7, 11)
    points = torch.tensor([[(a, b) for a in first] for b in second])
    for image in range(2):
        log_p = log_joint(model, x[image], points).numpy(force=True)
        ratio = np.log(true[image]) - log_p
        assert np.ptp(ratio) < 1e-5
        q = model.recognition[0](x[image])
        log_q = Normal(q.mean, q.log_std.exp()).log_prob(points).sum(-1)
        np.testing.assert_allclose(recognition[image], log_q.exp().numpy(force=True), rtol=1e-5)


def test_a_window_holds_nearly_all_of_both_densities() -> None:
    model, x = tiny_model(TWO), binary_images(3)
    model.recognition[0].log_std.bias.data.sub_(2.5)  # type: ignore[union-attr, operator]
    arrays = drawn.posterior_pictures(model, x)
    for axes, recognition in zip(arrays["posterior_axes"], arrays["recognition"], strict=True):
        cell = (axes[0, 1] - axes[0, 0]) * (axes[1, 1] - axes[1, 0])
        assert recognition.sum(dtype=float) * cell == pytest.approx(1, abs=0.02)
    narrow = np.zeros((len(GRID), len(GRID)), np.float32)
    narrow[200, 100] = 1
    axes = drawn.window(narrow, narrow)
    assert axes.mean(1) == pytest.approx(GRID[[100, 200]])
    assert np.ptp(axes, axis=1) == pytest.approx([0.1, 0.1])


def test_samples_pass_through_all_layers_and_end_as_means(model: IWAE) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = [layer[0] for layer in model.draw_noise(1, 9, generator)]
    h = noise[-1]
    for level in range(len(noise) - 1, 0, -1):
        p = model.generative[level](h)
        h = p.mean + p.log_std.exp() * noise[level - 1]
    expected = 1 / (1 + torch.exp(-model.generative[0](h).logits))
    torch.testing.assert_close(model.generate(noise), expected)


def test_fewer_samples_are_the_first_of_more(model: IWAE) -> None:
    many = prior_samples(model, 30, seed=4)
    assert many.shape == (30, 7)
    assert 0 < many.min() < many.max() < 1
    np.testing.assert_allclose(prior_samples(model, 8, seed=4), many[:8], rtol=1e-6)
    assert not np.allclose(prior_samples(model, 8, seed=5), many[:8])


@pytest.mark.parametrize("arch", [*ARCHS.values(), TWO, Arch(latents=[2], hidden=[[]])])
def test_pictures_have_the_shape_of_the_images(arch: Arch) -> None:
    model = tiny_model(arch, pixels=6)
    found = pictures(model, dataset((2, 3)), seed=0)
    images = {name: array.shape for name, array in found.items() if name not in DENSITIES}
    units = arch.hidden[0][0] if arch.hidden[0] else 2
    last = arch.hidden[0][0] if arch.hidden[0] else 2
    assert images == {
        "samples": (100, 2, 3),
        "originals": (20, 2, 3),
        "reconstructions": (20, 2, 3),
        "first_layer_weights": (units, 2, 3),
        "last_layer_weights": (last, 2, 3),
    }
    assert set(found) - set(images) == (DENSITIES if arch.latents == [2] else set())
    for name in ("samples", "originals", "reconstructions"):
        assert 0 <= found[name].min() < found[name].max() <= 1


def test_weights_are_those_between_pixels_and_units() -> None:
    model = tiny_model(TWO, pixels=6)
    found = pictures(model, dataset((2, 3)), seed=0)
    for pixel in range(6):
        place = divmod(pixel, 3)
        image = torch.eye(6, dtype=torch.float64)[pixel]
        network = model.recognition[0].network
        read = network[0](image) - network[0](0 * image)  # type: ignore[index, operator]
        np.testing.assert_allclose(
            found["first_layer_weights"][:, place[0], place[1]], read.numpy(force=True), rtol=1e-5
        )
        logits = model.generative[0].logits.weight[pixel]  # type: ignore[union-attr, index]
        np.testing.assert_allclose(
            found["last_layer_weights"][:, place[0], place[1]],
            logits.numpy(force=True),
            rtol=1e-5,
        )


def test_pictures_depend_on_the_seed_alone_and_few_test_images_are_enough() -> None:
    model = tiny_model(TWO, pixels=6)
    first, again = (pictures(model, dataset((3, 2), test=4), seed=1) for _ in range(2))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert first["reconstructions"].shape == (4, 3, 2)
    assert not np.array_equal(first["samples"], pictures(model, dataset((3, 2)), seed=2)["samples"])


def test_images_without_height_and_width_have_no_pictures() -> None:
    assert pictures(tiny_model(TWO, pixels=6), dataset(None), seed=0) == {}


def test_a_grid_is_crisp_square_and_in_order(tmp_path: Path) -> None:
    images = np.linspace(0, 1, 7 * 12).reshape(7, 4, 3)
    save_png(image_grid(images), tmp_path / "new" / "grid.png")
    png = imread(tmp_path / "new" / "grid.png")[..., 0]
    height, width = png.shape
    assert 0.6 < height / width < 1.7
    white = (png == 1).all(axis=1)
    rows = np.flatnonzero(np.diff(white.astype(int)) == -1) + 1
    columns = np.flatnonzero(np.diff((png == 1).all(axis=0).astype(int)) == -1) + 1
    scale = (np.flatnonzero(np.diff(white.astype(int)) == 1)[0] + 1 - rows[0]) // 4
    assert len(rows) * len(columns) >= 7
    for index, image in enumerate(images[:-1]):  # the last holds the white of the gaps
        top, left = rows[index // len(columns)], columns[index % len(columns)]
        tile = png[top : top + 4 * scale, left : left + 3 * scale]
        blocks = tile.reshape(4, scale, 3, scale)
        assert np.ptp(blocks, axis=(1, 3)).max() == 0, "each pixel is a square of one colour"
        np.testing.assert_allclose(blocks[:, 0, :, 0], image, atol=1 / 128)
