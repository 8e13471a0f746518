"""How well an estimator's gradient is determined: mean, variance, signal-to-noise ratio, bias."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from scipy.special import stdtr
from torch import Tensor

from iwae_cli.core.errors import ConfigError
from iwae_cli.core.progress import ProgressReport
from iwae_cli.core.seeding import derived_seed
from iwae_cli.data.dataset import Split
from iwae_cli.evaluation.estimators import Estimator, check_k, find_named
from iwae_cli.evaluation.noise import EvaluationNoise
from iwae_cli.evaluation.trained_run import TrainedRun
from iwae_cli.models.iwae import IWAE
from iwae_cli.objectives.base import Objective
from iwae_cli.runs.provenance import device_name

NETWORKS = {"encoder": "recognition", "decoder": "generative"}
REFERENCE = "iwae"
# Random directions along which the mean of a gradient is compared with the reference's.
PROJECTIONS = 8


class Moments:
    """Running mean and variance of a gradient over draws, float64, per parameter."""

    def __init__(self, size: int) -> None:
        self.draws = 0
        self.mean = torch.zeros(size, dtype=torch.float64)
        self.squares = torch.zeros(size, dtype=torch.float64)  # sum of (g - mean)^2

    def add(self, gradient: Tensor) -> None:
        """Take one draw of the gradient into account (Welford 1962)."""
        self.draws += 1
        gradient = gradient.double()
        step = gradient - self.mean
        self.mean += step / self.draws
        self.squares.addcmul_(step, gradient - self.mean)

    @property
    def variance(self) -> Tensor:
        """Unbiased variance of one draw, for each parameter."""
        return self.squares / (self.draws - 1)

    def squared_mean(self) -> Tensor:
        """Return mean^2 - variance / draws, unbiased for the squared expectation; may be < 0."""
        return self.mean.square() - self.variance / self.draws

    def norm(self) -> float:
        """Return the length of the expected gradient, 0 where noise hides it."""
        return math.sqrt(max(float(self.squared_mean().sum()), 0.0))

    def signal_to_noise(self) -> float:
        """Return the median over parameters of |mean| / standard deviation.

        The squared mean is freed of the noise in it. Parameters whose gradient never varies, such
        as weights of pixels that are zero in all images, are left out.
        """
        varies = self.variance > 0
        if not bool(varies.any()):
            return math.nan
        ratio = self.squared_mean().clamp(min=0)[varies] / self.variance[varies]
        return float(ratio.sqrt().median())


def gradient_statistics(
    model: IWAE,
    x: Tensor,
    objectives: Mapping[str, Objective],
    *,
    ks: Sequence[int],
    draws: int,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return a row for each k, estimator and network on the gradient of the mean loss of `x`.

    All estimators see the same noise, so their difference to `iwae` is paired. Columns:
    `mean_norm`, the length of the expected gradient; `variance`, summed over parameters; `snr`, see
    `Moments.signal_to_noise`; `bias_norm`, the length of the expected difference to iwae's;
    `bias_t`, the largest of PROJECTIONS paired t-statistics of that difference along random
    directions, and `bias_p`, the probability of one as large without bias (Bonferroni).
    Rainforth et al. 2018, "Tighter Variational Bounds are Not Necessarily Better", arXiv
    1802.04537, section 3.

    Args:
        model: On any device.
        x: Binary images, [B, D].
        objectives: Estimators by the name their rows get.
        ks: Numbers of samples.
        draws: Repetitions, at least 2.
        seed: Of the noise.
    """
    rows = []
    total = sum(ks) * draws
    with ProgressReport("gradients", total=total) as report:
        for index, k in enumerate(ks):
            generator = torch.Generator(x.device)
            generator.manual_seed(derived_seed(seed, f"gradients {k}"))
            comparison = Comparison(model, objectives)
            for draw in range(draws):
                comparison.add(x, k, generator)
                if report.due():
                    done = sum(ks[:index]) * draws + draw * k
                    report.update(done, f"k {k}  draw {draw + 1:,}/{draws:,}")
            rows += [{"k": k, **row} for row in comparison.rows()]
    return rows


class Comparison:
    """Moments of several estimators' gradients, and of their differences to `iwae`, at one k."""

    def __init__(self, model: IWAE, objectives: Mapping[str, Objective]) -> None:
        self.model, self.objectives = model, objectives
        self.networks = {
            name: list(model.get_submodule(module).parameters())
            for name, module in NETWORKS.items()
        }
        sizes = {name: sum(p.numel() for p in own) for name, own in self.networks.items()}
        generator = torch.Generator().manual_seed(derived_seed(0, "directions"))
        self.directions = {
            name: torch.randn(size, PROJECTIONS, generator=generator, dtype=torch.float64)
            for name, size in sizes.items()
        }
        pairs = [(one, name) for one in objectives for name in sizes]
        self.moments = {pair: Moments(sizes[pair[1]]) for pair in pairs}
        self.differences = {pair: Moments(sizes[pair[1]]) for pair in pairs}
        self.projected = {pair: Moments(PROJECTIONS) for pair in pairs}

    def add(self, x: Tensor, k: int, generator: torch.Generator) -> None:
        """Draw noise once, and take every estimator's gradient for it into account."""
        noise = self.model.draw_noise(k, len(x), generator)
        uniform = torch.rand(len(x), generator=generator, device=x.device, dtype=x.dtype)
        reference = self._gradients(x, noise, uniform, self.objectives[REFERENCE])
        for one, objective in self.objectives.items():
            own = reference
            if one != REFERENCE:
                own = self._gradients(x, noise, uniform, objective)
            for name, gradient in own.items():
                self.moments[one, name].add(gradient)
                if one != REFERENCE:
                    difference = gradient.double() - reference[name].double()
                    self.differences[one, name].add(difference)
                    self.projected[one, name].add(difference @ self.directions[name])

    def _gradients(
        self, x: Tensor, noise: Sequence[Tensor], uniform: Tensor, objective: Objective
    ) -> dict[str, Tensor]:
        """Return the gradient of each network's parameters as one vector, on the CPU."""
        found = self.model.gradients(x, noise, objective, uniform=uniform).parameters
        own = dict(zip(self.model.parameters(), found, strict=True))
        return {
            name: torch.cat([own[p].flatten() for p in parameters]).cpu()
            for name, parameters in self.networks.items()
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each estimator and network."""
        return [
            {
                "objective": one,
                "network": name,
                "draws": moments.draws,
                "parameters": len(moments.mean),
                "mean_norm": moments.norm(),
                "variance": float(moments.variance.sum()),
                "snr": moments.signal_to_noise(),
                **self._bias(one, name),
            }
            for (one, name), moments in self.moments.items()
        ]

    def _bias(self, one: str, name: str) -> dict[str, float]:
        """Return how far the expected gradient is from iwae's, and whether that can be chance."""
        if one == REFERENCE:
            return {"bias_norm": math.nan, "bias_t": math.nan, "bias_p": math.nan}
        projected = self.projected[one, name]
        error = (projected.variance / projected.draws).sqrt()
        t = torch.where(error > 0, projected.mean.abs() / error, 0.0).max().item()
        chance = 2 * PROJECTIONS * float(stdtr(projected.draws - 1, -t))
        return {
            "bias_norm": self.differences[one, name].norm(),
            "bias_t": t,
            "bias_p": min(chance, 1.0),
        }


def gradients(
    path: str | Path,
    *,
    objective: Sequence[str] = ("iwae", "dreg"),
    k: Sequence[int] = (1, 4, 16, 64),
    draws: int = 200,
    images: int = 32,
    split: Split = "train",
    seed: int = 0,
    device: str = "auto",
) -> list[dict[str, Any]]:
    """Return the rows of gradients.csv: a row for each k, estimator and network.

    The gradient is that of the mean loss of the first `images` images of a split, binarised once;
    only the noise differs from draw to draw. The columns are those of
    `gradient_statistics`; `iwae` is always among the estimators, for the bias
    is taken against it. The file is written anew by each call.

    Args:
        path: A run folder or a checkpoint file.
        objective: Estimators, with parameters as in `vr,alpha=0`.
        k: Numbers of samples.
        draws: Repetitions, at least 2.
        images: Of the minibatch.
        split: `train`, `valid` or `test`.
        seed: Of binarisation and noise.
        device: `auto`, `cpu`, `cuda` or `mps`.

    Example:
        >>> len(gradients(run.folder, k=[1, 2], draws=2, images=2))
        8

    Raises:
        ConfigError: An option out of range, or a k that an estimator does not allow.
        CheckpointError: The checkpoint is missing, damaged or foreign.
        DataError: The data set is missing, damaged, or not the one trained on.
    """
    if draws < 2:
        raise ConfigError(f"draws must be at least 2, got {draws}")
    found: list[Estimator] = [find_named("objective", name) for name in (REFERENCE, *objective)]
    check_k(found, k)
    run = TrainedRun(path, device=device)
    grey = run.images(split, images)
    x = EvaluationNoise(seed, run.model.latents).binarise(grey, 0, run.binarisation)
    rows = gradient_statistics(
        run.model.requires_grad_(),  # which layers without derivatives of their own need
        torch.from_numpy(x).to(run.device),
        {one.label: one.objective for one in found},
        ks=sorted(set(k)),
        draws=draws,
        seed=seed,
    )
    about = {**run.provenance(), "split": split, "images": len(x), "seed": seed}
    about["device"] = device_name(run.device)
    rows = [{**about, **row} for row in rows]
    run.folder.write_gradients(rows)
    return rows
