"""Log-likelihood estimates L_k of single images, and what they say of a test set."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from iwae_cli.core.progress import ProgressReport
from iwae_cli.data.binarisation import DYNAMIC, Binarisation
from iwae_cli.evaluation.noise import BLOCK, EvaluationNoise
from iwae_cli.evaluation.parallel import side_by_side, workers_for
from iwae_cli.evaluation.sampling import (
    COPIES,
    MEMORY_BYTES,
    Images,
    LogWeights,
    log_weights,
)
from iwae_cli.evaluation.tails import TOO_HEAVY, jackknife_bias, pareto_k_hat
from iwae_cli.models.iwae import IWAE
from iwae_cli.objectives.importance import effective_sample_size, log_mean_exp

# Samples that one core should get at once: with fewer, calls cost more than what they do.
MANY_SAMPLES = 4 * BLOCK
FEW_SAMPLES = 10

PerImage = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class Likelihood:
    """What k samples say of each of N images.

    Attributes:
        k: Samples an image.
        log_p: L_k = log (1/k) sum_i w_i, or what another estimator makes of the weights,
            nats, [N].
        elbo: (1/k) sum_i log w_i, nats, [N]; of samples of q it estimates the ELBO.
        ess: Effective sample size, in [1, k], [N].
        k_hat: Pareto shape of the largest weights, see `tails.pareto_k_hat`, [N].
        jackknife: What L_k lacks by the jackknife, nats, see `tails.jackknife_bias`, [N].
        seconds: Time it took, for all the k of one call together.
    """

    k: int
    log_p: PerImage
    elbo: PerImage
    ess: PerImage
    k_hat: PerImage
    jackknife: PerImage
    seconds: float

    def __repr__(self) -> str:
        row = self.summary()
        errors = f"+- {row['se_images']:.2f} (images) +- {row['se_mc']:.3f} (sampling)"
        return f"Likelihood({row['images']} images, k={self.k}: NLL {row['nll']:.3f} {errors} nats)"

    def summary(self) -> dict[str, Any]:
        """Return the row of eval.csv for these images, nats per image.

        `se_images` is the standard error over images; `se_mc` the Monte Carlo standard error
        sqrt(sum_x (1/ESS_x - 1/k)) / N; `bias` the expected excess of the NLL over the exact
        one, mean_x (1/ESS_x - 1/k) / 2. Both are first-order and too small for heavy-tailed
        weights, which a Pareto k-hat above 0.7 gives away; `bias_jackknife` is nearer then, and
        still too small. None covers the binarisation of the images.
        """
        n = len(self.log_p)
        relative_variance = np.maximum(1 / self.ess - 1 / self.k, 0)
        if self.k == 1:  # one weight says nothing of its variance
            relative_variance = np.full_like(self.ess, math.nan)
        few = float(np.mean(self.ess < FEW_SAMPLES)) if self.k >= FEW_SAMPLES else math.nan
        return {
            "k": self.k,
            "images": n,
            "nll": -float(self.log_p.sum()) / n,
            "se_images": float(self.log_p.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan,
            "se_mc": math.sqrt(float(relative_variance.sum())) / n,
            "bias": float(relative_variance.mean()) / 2,
            "negative_elbo": -float(self.elbo.sum()) / n,
            "bias_jackknife": float(self.jackknife.mean()),
            "share_ess_below_10": few,
            "share_khat_above_0.7": share_above(self.k_hat, TOO_HEAVY),
            "seconds": self.seconds,
            "images_per_second": n / self.seconds,
            "samples_per_second": n * self.k / self.seconds,
        }


def log_likelihoods(
    model: IWAE,
    images: Images,
    *,
    ks: Sequence[int] = (5000,),
    noise: EvaluationNoise | None = None,
    binarisation: Binarisation = DYNAMIC,
    estimate: Callable[[torch.Tensor], torch.Tensor] = log_mean_exp,
    weights: LogWeights = log_weights,
    memory_bytes: int = MEMORY_BYTES,
) -> list[Likelihood]:
    """Return estimates of log p(x) for each image, one for each k, from the same samples.

    L_k uses the first k of max(ks) samples. Batch and chunk sizes, and so `memory_bytes` and the
    number of threads, change the result by rounding alone; sums are in float64. On a processor
    `model` and `estimate` are called from several threads at once.

    Args:
        model: On any device.
        images: In [0, 1], [N, D].
        ks: Numbers of samples.
        noise: Source of binarisation and noise; None for the one with seed 0.
        binarisation: Of the images, once for all samples.
        estimate: Makes estimates of log p(x), [B], of log weights, float64, [k, B].
        weights: Draws the samples; those of q unless another proposal is named.
        memory_bytes: Budget for the largest activations.

    Example:
        >>> log_likelihoods(model.network, images, ks=[1, 50])[1].k
        50
    """
    start = time.perf_counter()
    ks = sorted(set(ks))
    noise = noise or EvaluationNoise(0, model.latents)
    widest = max(p.shape[0] for p in model.parameters())
    rows = max(1, memory_bytes // (COPIES * 4 * widest))
    workers = min(workers_for(next(model.parameters()).device), max(1, rows // MANY_SAMPLES))
    rows //= workers
    whole_blocks = BLOCK * math.ceil(ks[-1] / BLOCK)
    batch = max(1, min(rows // whole_blocks, math.ceil(len(images) / workers)))

    def estimates(first: int) -> list[PerImage]:
        x = images[first : first + batch]
        x = noise.binarise(x, first, binarisation)
        log_w = weights(model, x, noise, first_image=first, k=ks[-1], rows=rows)
        parts = [log_w[:k] for k in ks]
        return [torch.stack(per_image(part, estimate)).numpy() for part in parts]

    columns: list[list[PerImage]] = [[] for _ in ks]
    starts = range(0, len(images), batch)
    with (
        ProgressReport("evaluate", total=len(images)) as report,
        closing(side_by_side(estimates, starts, workers=workers)) as found,
    ):
        for first, per_k in zip(starts, found, strict=True):
            for column, values in zip(columns, per_k, strict=True):
                column.append(values)
            if report.due():
                done = min(first + batch, len(images))
                rate = done / (time.perf_counter() - start)
                report.update(done, f"image {done:,}/{len(images):,}  {rate:,.1f} images/s")
    seconds = time.perf_counter() - start
    return [
        Likelihood(k, log_p, elbo, ess, k_hat, jackknife, seconds)
        for k, (log_p, elbo, ess, k_hat, jackknife) in zip(ks, map(np.hstack, columns), strict=True)
    ]


def per_image(
    log_w: torch.Tensor, estimate: Callable[[torch.Tensor], torch.Tensor]
) -> list[torch.Tensor]:
    """Return the columns of `Likelihood` but for the seconds, each [B], from weights [k, B]."""
    return [
        estimate(log_w),
        log_w.mean(0),
        effective_sample_size(log_w),
        pareto_k_hat(log_w),
        jackknife_bias(log_w),
    ]


def share_above(values: PerImage, threshold: float) -> float:
    """Return which share of the values exceeds a threshold, NaN where there are none."""
    known = values[~np.isnan(values)]
    return float(np.mean(known > threshold)) if len(known) else math.nan
