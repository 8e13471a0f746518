"""Arrays for the pictures that need a model: samples, reconstructions, weights, posteriors."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from iwae_cli.core.device import device_of
from iwae_cli.core.errors import ConfigError
from iwae_cli.core.seeding import derived_seed
from iwae_cli.data.dataset import Dataset
from iwae_cli.evaluation.noise import EvaluationNoise
from iwae_cli.evaluation.trained_run import TrainedRun
from iwae_cli.models.iwae import IWAE
from iwae_cli.runs.opening import opened

SAMPLES = 100
RECONSTRUCTED = 20
POSTERIORS = 6
GRID = np.linspace(-4, 4, 321)
ZOOMED = 101
VISIBLE = 0.01  # of the peak of a density
RANGE = (2, 98)  # percentiles of real values that are black and white: a few are far outside

Array = NDArray[np.float32]


def pictures(model: IWAE, dataset: Dataset, *, seed: int) -> dict[str, NDArray[np.floating[Any]]]:
    """Return the arrays of pictures.npz by their keys; none where images have no height and width.

    - `samples` [100, H, W]: means of p(x | h_1) at draws from the prior, see `prior_samples`.
    - `originals` [20, H, W]: the first test images, as the data set has them.
    - `reconstructions` [20, H, W]: means of p(x | h_1) at the posterior mean
      h_1 = E_q[h_1 | x], of those images binarised as in an evaluation with this seed.
    - `first_layer_weights` [units, H, W]: of the units that read the image.
    - `last_layer_weights` [units, H, W]: of the units that the pixels' means or logits read.

    Real values are grey ones there: 0 at the lowest training value, 1 at the highest.

    And where the model has a single layer of two latents, see `posterior_densities`:

    - `posterior_x` [6, H, W]: the first training images, binarised.
    - `posterior_axes` [6, 2, G]: for each image, values of both latents around the densities.
    - `true_posterior` and `recognition`, [6, G, G]: p(h | x) and q(h | x) there.

    Args:
        model: On any device.
        dataset: That the model was trained on.
        seed: Of binarisation and noise.
    """
    if dataset.image_shape is None:
        return {}
    x = binary(model, dataset, dataset.test[:RECONSTRUCTED], seed)
    first, last = image_weights(model)
    flat = {
        "samples": prior_samples(model, SAMPLES, seed=seed),
        "originals": dataset.test[:RECONSTRUCTED],
        "reconstructions": reconstructions(model, x),
        "first_layer_weights": first,
        "last_layer_weights": last,
    }
    densities: dict[str, Any] = {}
    if model.latents == (2,):
        x = binary(model, dataset, dataset.train[:POSTERIORS], seed)
        flat["posterior_x"] = x.float().cpu().numpy()
        densities = posterior_pictures(model, x)
    if model.likelihood.real:
        shown = {*flat} - {"first_layer_weights", "last_layer_weights"}
        flat |= {name: grey(flat[name], dataset.train) for name in shown}
    shape = dataset.image_shape
    return {name: images.reshape(-1, *shape) for name, images in flat.items()} | densities


def grey(images: Array, like: NDArray[np.floating[Any]]) -> Array:
    """Return real values as grey ones: 0 at the lowest value of `like`, 1 at the highest."""
    low, high = like.min(), like.max()
    found: Array = np.clip((images - low) / max(high - low, 1e-30), 0, 1)
    return found


def binary(model: IWAE, dataset: Dataset, images: Array, seed: int) -> Tensor:
    """Return images as the model reads them, [N, D], in its precision and on its device."""
    binarisation = dataset.binarisation.if_wanted(model.likelihood.binarises)
    images = EvaluationNoise(seed, model.latents).binarise(images, 0, binarisation)
    return torch.from_numpy(images).to(next(model.parameters()))


@torch.inference_mode()
def prior_samples(model: IWAE, count: int, *, seed: int) -> Array:
    """Return E[x | h_1] with h drawn from the prior through all stochastic layers, [count, D].

    The first n samples are the same for every count of at least n.

    Args:
        model: On any device.
        count: Images.
        seed: Of the noise.
    """
    generator = np.random.default_rng(derived_seed(seed, "samples"))
    noise = torch.from_numpy(generator.standard_normal((count, sum(model.latents))))
    layers = torch.split(noise.to(next(model.parameters())), list(model.latents), dim=-1)
    means: Array = model.generate(layers).float().cpu().numpy()
    return means


@torch.inference_mode()
def reconstructions(model: IWAE, x: Tensor) -> Array:
    """Return E[x | h_1] at h_1 = E_q[h_1 | x], [B, D], of binary images `x` [B, D]."""
    means: Array = model.pixel_means(model.posterior_means(x)).float().cpu().numpy()
    return means


def image_weights(model: IWAE) -> tuple[Array, Array]:
    """Return the weights between pixels and the units next to them, each [units, D].

    First those of the recognition network's first linear layer, then those of the generative
    network's last one.
    """
    linear = [module for module in model.recognition[0].modules() if isinstance(module, nn.Linear)]
    own = dict(model.generative[0].named_children())
    head = own["logits"] if "logits" in own else own["mean"]
    assert isinstance(head, nn.Linear)
    reading, writing = linear[0].weight, head.weight.T
    return reading.detach().float().cpu().numpy(), writing.detach().float().cpu().numpy()


def posterior_pictures(model: IWAE, x: Tensor) -> dict[str, NDArray[np.floating[Any]]]:
    """Return both densities of binary images `x` [B, D], in a window around each image's.

    A trained model's posterior covers a few cells of GRID, where it is looked for; its shape shows
    in the window.
    """
    whole = zip(*posterior_densities(model, x, GRID, GRID), strict=True)
    windows = [window(*densities) for densities in whole]
    closer = [posterior_densities(model, x[i : i + 1], *axes) for i, axes in enumerate(windows)]
    return {
        "posterior_axes": np.stack(windows),
        "true_posterior": np.concatenate([densities[0] for densities in closer]),
        "recognition": np.concatenate([densities[1] for densities in closer]),
    }


def window(*densities: Array) -> NDArray[np.float64]:
    """Return axes of the square that holds the densities, [G, G] on GRID, as far as one sees them.

    Row 0 are values of the first latent, row 1 of the second, [2, ZOOMED].
    """
    seen = np.any([density > VISIBLE * density.max() for density in densities], axis=0)
    second, first = np.nonzero(seen)
    low = GRID[[first.min(), second.min()]]
    high = GRID[[first.max(), second.max()]]
    half = (high - low).max() / 2 + 2 * (GRID[1] - GRID[0])
    return np.linspace((low + high) / 2 - half, (low + high) / 2 + half, ZOOMED, axis=1)


@torch.inference_mode()
def posterior_densities(
    model: IWAE, x: Tensor, first: NDArray[np.float64], second: NDArray[np.float64]
) -> tuple[Array, Array]:
    """Return p(h | x) and q(h | x) at all points of a grid, each [B, G, G'].

    Element [b, i, j] is the density at h = (first[j], second[i]), as
    `imshow(..., origin="lower")` draws it. p(h | x) is p(x, h) divided by its sum over the grid
    times the area of a cell, and so sums to one over the grid.

    Args:
        model: With a single layer of two latents.
        x: Binary images, [B, D].
        first: Equidistant values of the first latent, [G'].
        second: Equidistant values of the second latent, [G].
    """
    row = torch.from_numpy(first).to(x)
    log_p, log_q = [], []
    for value in torch.from_numpy(second).to(x):
        h = torch.stack([row, value.expand_as(row)], dim=-1).unsqueeze(1)
        log_p.append(model.log_p_x_and_h(x, [h]).cpu().double())
        log_q.append(model.log_q_h_given_x(x, [h]).cpu().double())
    joint = torch.stack(log_p).permute(2, 0, 1)
    log_area = math.log((first[1] - first[0]) * (second[1] - second[0]))
    log_evidence = torch.logsumexp(joint.flatten(1), dim=1) + log_area
    true = torch.exp(joint - log_evidence[:, None, None])
    recognition = torch.stack(log_q).permute(2, 0, 1).exp()
    return true.float().numpy(), recognition.float().numpy()


def write_pictures(path: str | Path, *, seed: int = 0, device: str = "auto") -> Path | None:
    """Write pictures.npz of a run; see `pictures` for its keys.

    Args:
        path: A run folder or a checkpoint file.
        seed: Of binarisation and noise.
        device: `auto`, `cpu`, `cuda` or `mps`.

    Returns:
        The file, or None where the images have no height and width and nothing is written.
    """
    run = TrainedRun(path, device=device)
    arrays = pictures(run.model, run.dataset, seed=seed)
    if not arrays:
        return None
    run.folder.write_pictures(arrays, parameters=run.checkpoint.parameters_digest)
    return run.folder.pictures


def sample(
    path: str | Path, *, count: int = 100, seed: int = 0, device: str = "auto"
) -> NDArray[np.float32]:
    """Return means of p(x | h) at draws from the prior of a trained model, [count, H, W].

    Those of real values are grey ones: 0 up to their second percentile, 1 from the 98th on.

    Needs the checkpoint alone, not the data set.

    Args:
        path: A run folder or a checkpoint file.
        count: Images.
        seed: Of the noise.
        device: `auto`, `cpu`, `cuda` or `mps`.

    Example:
        >>> sample(run.folder, count=3).shape
        (3, 8, 8)

    Raises:
        ConfigError: A count below 1, or images without height and width.
        CheckpointError: The checkpoint is missing, damaged or foreign.
    """
    if count < 1:
        raise ConfigError(f"count must be at least 1, got {count}")
    _, stored = opened(path)
    if stored.data.image_shape is None:
        raise ConfigError(
            f"the images of {stored.data.label} have no height and width to draw them by; "
            "'iwae encode' gives the latents as numbers"
        )
    height, width = stored.data.image_shape
    model = stored.network().to(device_of(device))
    found = prior_samples(model, count, seed=seed).reshape(count, height, width)
    return grey(found, np.percentile(found, RANGE)) if model.likelihood.real else found
