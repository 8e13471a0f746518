"""AIS of a trained run: step sizes found once and frozen, blocks of images, resumed if stopped."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import closing
from dataclasses import asdict, replace
from threading import Event
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from iwae_cli.core.atomic_write import write_arrays
from iwae_cli.core.building import build
from iwae_cli.core.identity import identity
from iwae_cli.core.progress import ProgressReport
from iwae_cli.core.seeding import derived_seed
from iwae_cli.evaluation.ais import Annealing, adapted_steps, anneal
from iwae_cli.evaluation.estimators import ANNEALED, parameters_of
from iwae_cli.evaluation.likelihood import Likelihood
from iwae_cli.evaluation.noise import EvaluationNoise
from iwae_cli.evaluation.parallel import side_by_side, workers_for
from iwae_cli.evaluation.sampling import Images
from iwae_cli.evaluation.tails import jackknife_bias
from iwae_cli.evaluation.trained_run import TrainedRun
from iwae_cli.objectives.importance import effective_sample_size, log_mean_exp
from iwae_cli.runs.eval_csv import EvaluationKey

Array = NDArray[np.float64]

ROWS = 1024  # states of chains that move together: with fewer, calls take longer than what they do
ADAPTED_ON, ADAPTED_CHAINS = 20, 16  # training images that step sizes are found on
ADAPTED_AT = 100  # temperatures at most; between them the steps are interpolated


class Estimates(NamedTuple):
    """Of each image: log of the mean AIS weight, effective sample size, jackknife bias, [N]."""

    log_p: list[float]
    ess: list[float]
    jackknife: list[float]


def annealing_of(text: str) -> Annealing:
    """Return the settings that `ais,temperatures=100,chains=16,leapfrogs=10` stands for.

    Raises:
        ConfigError: An unknown parameter, or one out of range.
    """
    _, *pairs = text.split(",")
    return build(Annealing, parameters_of("estimator", pairs), where="estimator")


def label_of(work: Annealing) -> str:
    """Return the estimator's name in tables; the number of chains is their k."""
    return f"{ANNEALED}(temperatures={work.temperatures},leapfrogs={work.leapfrogs})"


class ImageChance:
    """Random numbers of the chains of some images, each image's from a generator of its own.

    Attributes:
        stop: Once it is set, the chains end at their next move.
    """

    def __init__(self, seed: int, first: int, images: int, size: int, like: Tensor) -> None:
        keys = [np.random.SeedSequence([seed, first + row]) for row in range(images)]
        self.generators = [np.random.Generator(np.random.Philox(key)) for key in keys]
        self.size, self.like, self.stop = size, like, Event()

    def normal(self, chains: int) -> Tensor:
        """Return standard normal numbers, [c, B, H].

        Raises:
            CancelledError: The chains are told to stop.
        """
        if self.stop.is_set():
            raise CancelledError
        rows = [g.standard_normal((chains, self.size), np.float32) for g in self.generators]
        return torch.from_numpy(np.stack(rows, axis=1)).to(self.like)

    def uniform(self, chains: int) -> Tensor:
        """Return numbers in [0, 1), [c, B]."""
        rows = [g.random(chains, np.float32) for g in self.generators]
        return torch.from_numpy(np.stack(rows, axis=1)).to(self.like)


def frozen_steps(run: TrainedRun, work: Annealing) -> Tensor:
    """Return the step sizes for temperatures and leapfrogs of `work`, [T - 1].

    They are found on training images, whatever is to be estimated with them, and kept in the run
    folder.
    """
    name, digest = label_of(work), run.checkpoint.parameters_digest
    known = run.folder.arrays_of(run.folder.ais_steps, parameters=digest)
    if name not in known:
        seed, temperatures = derived_seed(0, "adaptation"), min(work.temperatures, ADAPTED_AT)
        own = replace(work, chains=ADAPTED_CHAINS, temperatures=temperatures)
        x = inputs_of(run, run.images("train", ADAPTED_ON), 0, seed)
        steps = adapted_steps(run.model, x, own, chance_of(run, seed, 0, len(x)))
        known = {name: interpolated(steps.numpy(), own, work)}
        run.folder.add_arrays_of(run.folder.ais_steps, known, parameters=digest)
    return torch.from_numpy(known[name])


def interpolated(steps: Array, found: Annealing, work: Annealing) -> Array:
    """Return the step sizes for the temperatures of `work` from those `found` at others."""
    if not len(steps):
        return steps
    at, wanted = ([one.b(t) for t in range(1, one.temperatures)] for one in (found, work))
    return np.interp(wanted, at, steps)


def inputs_of(run: TrainedRun, images: Images, first: int, seed: int) -> Tensor:
    """Return images as the model reads them, binarised as in every evaluation of this seed."""
    noise = EvaluationNoise(seed, run.model.latents)
    x = noise.binarise(images, first, run.binarisation)
    return torch.from_numpy(x).to(next(run.model.parameters()))


def chance_of(run: TrainedRun, seed: int, first: int, images: int) -> ImageChance:
    """Return the random numbers of chains for images from number `first` on."""
    like = next(run.model.parameters())
    key = derived_seed(seed, "chains")
    return ImageChance(key, first, images, sum(run.model.latents), like)


def annealed_likelihoods(
    run: TrainedRun, images: Images, *, work: Annealing, key: EvaluationKey
) -> Likelihood:
    """Return log of the mean AIS weight for each image; after a stop it goes on where it was.

    Args:
        run: The model, and the folder for step sizes and for what is done already.
        images: In [0, 1], [N, D].
        work: Numbers of temperatures, chains and leapfrog steps.
        key: Of this evaluation; its seed is that of binarisation and chains.
    """
    start = time.perf_counter()
    steps = frozen_steps(run, work)
    partial = run.folder.path / f".ais-{identity(asdict(key))[:16]}.npz"
    known = run.folder.read_arrays(partial) if run.folder.saved else {}
    found = Estimates(*(list(known.get(name, [])) for name in Estimates._fields))
    before = float(known["seconds"]) if known else 0.0
    done = len(found.log_p)
    with ProgressReport(ANNEALED, total=len(images), done=done) as report:
        for log_w in annealed_blocks(run, images, work, steps, first=done, seed=key.seed):
            add(found, log_w)
            seconds = before + time.perf_counter() - start
            if run.folder.saved:
                write_arrays(partial, {**as_arrays(found), "seconds": np.array(seconds)})
            if report.due():
                report.update(len(found.log_p), f"image {len(found.log_p):,}/{len(images):,}")
    seconds = before + time.perf_counter() - start
    if run.folder.saved:
        partial.unlink(missing_ok=True)
    log_p, ess, jackknife = as_arrays(found).values()
    none = np.full(len(log_p), np.nan)
    return Likelihood(work.chains, log_p, none, ess, none, jackknife, seconds)


def annealed_blocks(
    run: TrainedRun, images: Images, work: Annealing, steps: Tensor, *, first: int, seed: int
) -> Iterator[Tensor]:
    """Yield AIS log weights [c, B] of blocks of images from number `first` on, a core each."""
    size, stop = block_size(work), Event()

    def weights_of(start: int) -> Tensor:
        block = images[start : start + size]
        x, chance = inputs_of(run, block, start, seed), chance_of(run, seed, start, len(block))
        chance.stop = stop
        return anneal(run.model, x, work, chance, steps=steps)

    starts = range(first, len(images), size)
    workers = workers_for(run.device)
    with closing(side_by_side(weights_of, starts, workers=workers, stop=stop)) as found:
        yield from found


def block_size(work: Annealing) -> int:
    """Return how many images are annealed together, and saved together."""
    return max(1, ROWS // work.chains)


def add(found: Estimates, log_w: Tensor) -> None:
    """Add what AIS weights [c, B] say of their images."""
    columns: Sequence[Tensor] = (
        log_mean_exp(log_w),
        effective_sample_size(log_w),
        jackknife_bias(log_w),
    )
    for values, column in zip(found, columns, strict=True):
        values += column.tolist()


def as_arrays(found: Estimates) -> dict[str, Array]:
    """Return the estimates by name, float64, [N] each."""
    return {name: np.array(values) for name, values in found._asdict().items()}
