"""Bounds of log p(x) from both sides, on images drawn from the model with their latents."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from iwae_cli.core.errors import ConfigError
from iwae_cli.core.progress import ProgressReport
from iwae_cli.core.seeding import derived_seed
from iwae_cli.evaluation.ais import Annealing, anneal, anneal_back, in_float64
from iwae_cli.evaluation.chains import annealing_of, chance_of, frozen_steps, label_of
from iwae_cli.evaluation.estimators import ANNEALED
from iwae_cli.evaluation.laplace import BY_LAPLACE, check_proposal, laplace_of
from iwae_cli.evaluation.noise import EvaluationNoise
from iwae_cli.evaluation.noise_space import NoiseSpace, layers_of, noise_of
from iwae_cli.evaluation.sampling import log_weights
from iwae_cli.evaluation.trained_run import TrainedRun
from iwae_cli.models.likelihoods.dense import DensePixels
from iwae_cli.objectives.importance import log_mean_exp
from iwae_cli.runs.eval_csv import L_K

BLOCK_IMAGES = 10
ROWS = 20_000  # samples to decode at once

Array = NDArray[np.float64]


def simulated(run: TrainedRun, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return images drawn from the model, [N, D], and the noise of their latents, [1, N, H]."""
    model, like = run.model, next(run.model.parameters())
    generator = np.random.default_rng(derived_seed(seed, "simulated images"))
    noise = generator.standard_normal((count, sum(model.latents)), np.float32)
    uniform = generator.random((count, model.data_dim), np.float32)
    with torch.no_grad():
        latents = model.latents_of_prior(layers_of(model, torch.from_numpy(noise).to(like)))
        layer, h = model.generative_layers[0], latents[0]
        if isinstance(layer, DensePixels):
            numbers = torch.Generator(like.device).manual_seed(derived_seed(seed, "pixels"))
            x = layer.draw(layer.outputs_of(h)[0], numbers)
        else:
            x = (torch.from_numpy(uniform).to(like) < layer(h).mean).to(like)
    return x, noise_of(model, x, [h.unsqueeze(0) for h in latents])


def upper_bound(log_w: Tensor, log_w_exact: Tensor) -> Tensor:
    """Return U_k = log (1/k) (w(h*) + the sum of the first k - 1 weights), [B].

    E U_k >= log p(x) over images x drawn from the model with their latents h* (Brekelmans et al.
    2022, arXiv 2106.15551).

    Args:
        log_w: Weights of samples of q, [k, B].
        log_w_exact: Of the latents the images were drawn with, [1, B].
    """
    return log_mean_exp(torch.cat([log_w_exact, log_w[:-1]]))


def sandwich(
    path: str | Path,
    *,
    images: int = 100,
    k: int = 5000,
    estimator: str = L_K,
    proposal: str = "q",
    seed: int = 0,
    device: str = "auto",
    output: Path | None = None,
) -> dict[str, Any]:
    """Return the mean lower and upper bound of log p(x) on images drawn from the model.

    Args:
        path: A run folder or a checkpoint file.
        images: To draw.
        k: Samples an image of L_k and U_k.
        estimator: `L_k`, or `ais` with parameters: chains from both ends (bidirectional Monte
            Carlo).
        proposal: What L_k and U_k draw from: `q` or `laplace`.
        seed: Of the images and the samples.
        device: `auto`, `cpu`, `cuda` or `mps`.
        output: Where to look for the run's folder of results, in place of its own.

    Example:
        >>> sandwich(run.folder, images=2, k=10)["images"]
        '2 simulated'

    Raises:
        ConfigError: An option out of range, or an estimator without an upper bound.
        CheckpointError: The checkpoint is missing, damaged or foreign.
        DataError: The data set is missing, damaged, or not the one trained on.
    """
    name = estimator.split(",")[0]
    laplace = check_proposal(proposal, estimator) is not log_weights
    if name not in (L_K, ANNEALED) or (name == L_K and estimator != L_K):
        raise ConfigError(f"the sandwich is for {L_K} and {ANNEALED}, not for '{estimator}'")
    if min(images, k) < 1:
        raise ConfigError(f"images and k must be at least 1, got {images} and {k}")
    work = annealing_of(estimator) if name == ANNEALED else None
    run = TrainedRun(path, device=device, output=output)
    steps = frozen_steps(run, work) if work else None
    x, exact = simulated(run, images, seed)
    lower, upper = [], []
    with ProgressReport("sandwich", total=images) as report:
        for first in range(0, images, BLOCK_IMAGES):
            rows = slice(first, first + BLOCK_IMAGES)
            block, own = x[rows], exact[:, rows]
            if work is not None and steps is not None:
                below, above = annealed_block(run, block, own, first, work, steps, seed)
            else:
                below, above = sampled_block(run, block, own, first, k, seed, laplace=laplace)
            lower.append(below.numpy())
            upper.append(above.numpy())
            if report.due():
                done = min(first + BLOCK_IMAGES, images)
                report.update(done, f"image {done:,}/{images:,}")
    label = label_of(work) if work else BY_LAPLACE if laplace else L_K
    about = {"estimator": label, "k": work.chains if work else k}
    row = {"images": f"{images} simulated", **about, "seed": seed}
    return {"run": run.name, **row, **summary(np.hstack(lower), np.hstack(upper))}


def sampled_block(
    run: TrainedRun,
    x: Tensor,
    exact: Tensor,
    first: int,
    k: int,
    seed: int,
    *,
    laplace: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return L_k and U_k of images, float64, [B] each, from the same samples."""
    noise = EvaluationNoise(derived_seed(seed, "sandwich"), run.model.latents)
    if laplace:
        proposal = laplace_of(run.model, x)
        log_w = proposal.sampled_log_weights(noise, first_image=first, k=k, rows=ROWS)
        own = proposal.log_weights(exact)
    else:
        pixels = x.float().cpu().numpy()
        log_w = log_weights(run.model, pixels, noise, first_image=first, k=k, rows=ROWS)
        own = NoiseSpace(run.model, x).log_w(exact)
    return log_mean_exp(log_w), upper_bound(log_w, in_float64(own))


def annealed_block(
    run: TrainedRun,
    x: Tensor,
    exact: Tensor,
    first: int,
    work: Annealing,
    steps: Tensor,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Return what chains from q and chains from h* say of log p(x), float64, [B] each."""
    forth = chance_of(run, derived_seed(seed, "sandwich"), first, len(x))
    back = chance_of(run, derived_seed(seed, "sandwich from above"), first, len(x))
    below = anneal(run.model, x, work, forth, steps=steps)
    above = anneal_back(run.model, x, exact, work, back, steps=steps)
    return log_mean_exp(below), -log_mean_exp(above)


def summary(lower: Array, upper: Array) -> dict[str, float]:
    """Return the mean bounds of log p(x), their gap and its standard error over images, nats."""
    gap, n = upper - lower, len(lower)
    return {
        "lower": float(lower.mean()),
        "upper": float(upper.mean()),
        "gap": float(gap.mean()),
        "se_gap": float(gap.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan,
    }
