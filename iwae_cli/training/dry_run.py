"""What a run would take: its state, the time left on this machine, the disk."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import mean

import torch

from iwae_cli.core.config import Config
from iwae_cli.core.progress import Counter
from iwae_cli.core.runtime import default_threads
from iwae_cli.evaluation.active_units import CHECK_K
from iwae_cli.evaluation.likelihood import log_likelihoods
from iwae_cli.evaluation.parallel import workers_for
from iwae_cli.runs.checkpoint import Checkpoint
from iwae_cli.runs.eval_csv import EvaluationKey
from iwae_cli.runs.state import State, state_of
from iwae_cli.training.resolve import ResolvedRun, prepare
from iwae_cli.training.run import new_trainer
from iwae_cli.training.trainer import Trainer

# Steps that are timed, after as many as an optimiser may take to settle; K-FAC observes factors at
# each of the first ten steps, then at every fifth
SETTLING, STEPS = 10, 5
IMAGES = 2


@dataclass(frozen=True)
class Forecast:
    """A run that would be carried out, as `iwae train --dry-run` lists it."""

    run: str
    state: State
    passes_done: int
    passes: int
    seconds: float
    bytes: int


def forecasts(configs: Iterable[Config]) -> list[Forecast]:
    """Return the forecast of each run and of each parent, every run once, parents first.

    Args:
        configs: Checked configs.
    """
    forecaster, found = Forecaster(), dict[str, Forecast]()
    counter = Counter("runs forecast")
    for settings in configs:
        counter.count()
        torch.set_num_threads(settings.threads or default_threads())
        for run in prepare(settings).chain():
            if run.identity not in found:
                found[run.identity] = forecaster.forecast(run)
    return list(found.values())


class Forecaster:
    """Forecasts runs; what takes equally long is measured once, by a few real steps."""

    def __init__(self) -> None:
        self._measured: dict[str, float] = {}

    def forecast(self, run: ResolvedRun) -> Forecast:
        """Return the state of a run, and the time and disk until it and its follow-ups are done."""
        trainer = new_trainer(run)
        recipe, steps = run.components.recipe, trainer.steps_per_pass
        done = 0
        if run.folder.checkpoint.exists():
            done = Checkpoint.read(run.folder.checkpoint).training.pass_index
        state = state_of(run.folder, passes=done, total=recipe.total_passes)
        left = [recipe.k_at(i, run.settings.k) for i in range(done, recipe.total_passes)]
        seconds = sum(
            left.count(k) * steps * self._step_seconds(run, trainer, k) for k in sorted(set(left))
        )
        seconds += self._evaluation_seconds(run, trainer, done)
        return Forecast(
            run.folder.path.name, state, done, recipe.total_passes, seconds, disk(run, trainer)
        )

    def _step_seconds(self, run: ResolvedRun, trainer: Trainer, k: int) -> float:
        recipe = run.components.recipe
        how = f"{recipe.name} {recipe.all_rows} {trainer.batch_size}"
        key = f"{costs(run)} {run.settings.objective} {how} {k}"
        if key not in self._measured:
            trainer.k, trainer.pass_index = k, recipe.total_passes - 1
            seconds = [timed_step(trainer) for _ in range(SETTLING + STEPS)]
            self._measured[key] = mean(seconds[SETTLING:])
        return self._measured[key]

    def _evaluation_seconds(self, run: ResolvedRun, trainer: Trainer, done: int) -> float:
        total, steps = 0.0, run.components.recipe.total_passes * trainer.steps_per_pass
        images, then = run.dataset.test, run.settings.then
        known = run.folder.read_evaluations()
        left = [
            k
            for k in then.eval
            if not EvaluationKey(steps=steps, split="test", images=len(images), seed=0, k=k).row_in(
                known
            )
        ]
        if then.active_units and then.check_active_units and not run.folder.removal.exists():
            left.append(CHECK_K)  # without the inactive units
        for k in left:
            key = f"{costs(run)} evaluation {k}"
            if key not in self._measured:
                few = images[: IMAGES * workers_for(run.device)]
                self._measured[key] = log_likelihoods(
                    trainer.model.multiply_in(None), few, ks=[k], binarisation=run.binarisation
                )[0].seconds / len(few)
            total += self._measured[key] * len(images)
        return total


def costs(run: ResolvedRun) -> str:
    """Return what the cost of one sample of one image depends on."""
    arch = run.settings.arch
    return f"{run.dataset.train.shape[1]} {arch.latents} {arch.hidden} {run.device} {run.precision}"


def timed_step(trainer: Trainer) -> float:
    """Return the seconds that one step takes; a pass that is over begins again."""
    trainer.step_in_pass %= trainer.steps_per_pass
    start = time.perf_counter()
    trainer.step()
    return time.perf_counter() - start


def disk(run: ResolvedRun, trainer: Trainer) -> int:
    """Return about how many bytes the run folder needs, with room for a second checkpoint."""
    parameters = sum(p.numel() for p in trainer.model.parameters())
    checkpoint_bytes = 4 * (3 * parameters + len(run.dataset.train))  # with two moments each
    return 2 * checkpoint_bytes + 8 * len(run.dataset.test) * len(run.settings.then.eval)
