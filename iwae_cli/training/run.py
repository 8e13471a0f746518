"""One run from config to results: identity, folder, lock, training, evaluation."""

import dataclasses
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from iwae_cli.core.config import Config
from iwae_cli.core.device import products_of
from iwae_cli.core.memory import enough_memory
from iwae_cli.core.runtime import default_threads
from iwae_cli.core.seeding import derived_seed
from iwae_cli.core.trackers import Tracker
from iwae_cli.data.dataset import Dataset
from iwae_cli.evaluation.active_units import active_units
from iwae_cli.evaluation.evaluate import evaluate
from iwae_cli.evaluation.visualisation import write_pictures
from iwae_cli.models.initialisation import initialise
from iwae_cli.models.iwae import IWAE
from iwae_cli.models.loading import network_of
from iwae_cli.runs.checkpoint import Checkpoint, digest_of
from iwae_cli.runs.config_yaml import config_digest
from iwae_cli.runs.log import hints, log_file, say_if_long
from iwae_cli.runs.metrics import Metrics
from iwae_cli.runs.provenance import describe_environment
from iwae_cli.training.first_words import say_of_former_default, say_of_values
from iwae_cli.training.memory import advice, check_memory
from iwae_cli.training.optimizers.kfac import KFAC
from iwae_cli.training.resolve import ResolvedRun, prepare
from iwae_cli.training.resume import checkpoint_of, restore, start_from
from iwae_cli.training.tracking import tell_pass, tell_results, trackers_of
from iwae_cli.training.trainer import Trainer
from iwae_cli.training.validation import OverfittingWatch

log = logging.getLogger("iwae")


@dataclass(frozen=True)
class RunResult:
    """What a training run came to; bounds in nats per image."""

    folder: Path
    identity: str
    passes: int
    steps: int
    bound: float
    valid_bound: float | None
    seconds: float
    already_finished: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return {**dataclasses.asdict(self), "folder": str(self.folder)}


def run(settings: Config, *, wait: bool = False) -> RunResult:
    """Train a model, or resume its training, in the folder that belongs to its config.

    A run with `init_from` trains its parent first where that is unfinished. The follow-ups of
    `then` come last; what they wrote before is not computed again.

    Args:
        settings: The config.
        wait: Wait for another process that trains the same run, instead of giving up.

    Raises:
        ConfigError: A value that cannot be run.
        DataError: The data set is missing or damaged.
        RunLockedError: Another process trains the same run.
        CheckpointError: The checkpoint cannot be read or written.
        NonFiniteError: The bound became NaN or infinite.
        Stopped: A signal of `core.signals`; the state was saved.
    """
    torch.set_num_threads(settings.threads or default_threads())
    prepared = prepare(settings)
    result = train(prepared, wait=wait)
    for one in prepared.chain():
        follow_up(one)
        tell_results(one)
    return result


def train(run: ResolvedRun, *, wait: bool) -> RunResult:
    """Train a run to its end, after its parent, from its checkpoint if there is one."""
    if run.parent:
        if not run.parent.folder.checkpoint.exists():
            log.info("first the run that this one starts from: %s", run.parent.folder.path)
        train(run.parent, wait=True)
    start = time.monotonic()
    trainer = new_trainer(run)
    if not run.folder.checkpoint.exists():
        check_room(trainer, run)
    run.folder.path.mkdir(parents=True, exist_ok=True)
    with run.folder.lock(wait=wait):
        if run.folder.checkpoint.exists():
            restore(trainer, run)
        elif run.parent:
            start_from(trainer, run.parent)
        already_finished = trainer.finished
        if already_finished:
            run.folder.write_metrics(trainer.metrics)  # whole again, should it have been cut
        else:
            with log_file(run.folder), hints(run.folder):
                train_locked(trainer, run)
    last = trainer.metrics[-1]
    return RunResult(
        folder=run.folder.path,
        identity=run.identity,
        passes=trainer.pass_index,
        steps=trainer.steps,
        bound=last.train_bound,
        valid_bound=None if math.isnan(last.valid_bound) else last.valid_bound,
        seconds=time.monotonic() - start,
        already_finished=already_finished,
    )


def train_locked(trainer: Trainer, run: ResolvedRun) -> None:
    """Train in a folder that this process holds, and save as the config says."""
    log.info("%s %s", "resuming" if trainer.steps else "training", run.folder.path)
    if not trainer.steps:
        say_of_former_default(run)
        say_of_values(run)
    if isinstance(trainer.optimizer, KFAC) and trainer.optimizer.others:
        others = ", ".join(trainer.optimizer.others)
        log.info("parameters outside linear layers follow Adam: %s", others)
    run.folder.write_config(run.plain)
    environment = describe_environment(run.dataset, run.device)
    environment |= {"identity": run.identity, "total_passes": trainer.recipe.total_passes}
    environment["config"] = config_digest(run.plain)
    run.folder.write_environment(environment)
    run.folder.write_metrics(trainer.metrics)
    memory = enough_memory(advice(run.settings.k, trainer.batch_size))
    overfitting = OverfittingWatch(trainer.metrics)
    with memory, trackers_of(run, passes=trainer.pass_index) as told:
        trainer.run(
            save=lambda: checkpoint_of(trainer, run).write(run.folder.checkpoint),
            on_pass=lambda row: keep_pass(run, told, row, overfitting),
            checkpoint_seconds=run.settings.checkpoint_seconds,
            validate_passes=run.settings.validate_passes,
            on_forecast=lambda seconds: say_if_long(seconds, run.components.recipe.name),
        )
    # what results of this run are held to
    environment["parameters"] = digest_of(trainer.model.state_dict())
    run.folder.write_environment(environment)


def keep_pass(
    run: ResolvedRun, told: Sequence[Tracker], row: Metrics, overfitting: OverfittingWatch
) -> None:
    """Add a finished pass to metrics.csv, and tell the trackers of it."""
    run.folder.append_metrics(row)
    tell_pass(told, row)
    overfitting.look()


def check_room(trainer: Trainer, run: ResolvedRun) -> None:
    """Refuse a run whose steps cannot fit into memory, before it leaves a folder.

    Raises:
        OutOfMemory: There is not enough.
    """
    k, images = run.settings.k, trainer.batch_size
    if run.device.type == "cpu":
        check_memory(trainer.model, k=k, images=images, all_rows=trainer.recipe.all_rows)
    if images > len(run.dataset.train):
        log.info(
            "batch_size=%d is more than the %d training images: each pass is one step",
            *(images, len(run.dataset.train)),
        )


def new_trainer(run: ResolvedRun) -> Trainer:
    """Return the training of a run at its very beginning."""
    settings, dataset = run.settings, run.dataset
    model = new_model(settings, dataset).to(run.device).multiply_in(products_of(run.precision))
    return Trainer(
        model.compile_training() if settings.compile else model,
        run.components.objective,
        run.components.recipe,
        k=settings.k,
        seed=settings.seed,
        train=torch.from_numpy(dataset.train).to(run.device),
        valid=torch.from_numpy(dataset.valid).to(run.device),
        binarisation=run.binarisation,
    )


def new_model(settings: Config, dataset: Dataset) -> IWAE:
    """Return a model on the CPU with freshly drawn parameters."""
    model = network_of(settings, dataset.train.shape[1])
    generator = torch.Generator().manual_seed(derived_seed(settings.seed, "initialisation"))
    moments = (
        dataset.train.mean(axis=0, dtype="float64"),
        dataset.train.std(axis=0, dtype="float64"),
    )
    mean, std = (torch.from_numpy(moment).float() for moment in moments)
    initialise(
        model,
        settings.arch.init,
        generator=generator,
        mean_image=mean if settings.arch.output_bias else None,
        std_image=std,
    )
    return model


def follow_up(run: ResolvedRun) -> None:
    """Do what the config wants once training has ended, but for what was done before."""
    then = run.settings.then
    if then.eval:
        evaluate(run.folder.path, k=then.eval, device=run.settings.device)
    stored = Checkpoint.read(run.folder.checkpoint)

    def missing(path: Path) -> bool:
        digest, steps = stored.parameters_digest, stored.training.steps
        return run.folder.recorded(path, parameters=digest, steps=steps) is None

    check = then.check_active_units and missing(run.folder.removal)
    if then.active_units and (check or missing(run.folder.active_units)):
        active_units(run.folder.path, check=check, device=run.settings.device)
    if then.pictures and not run.folder.has_pictures(stored.parameters_digest):
        write_pictures(run.folder.path, device=run.settings.device)
