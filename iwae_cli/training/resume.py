"""What a checkpoint holds of a training, and how it goes on from there."""

import logging

from iwae_cli.core.config import require
from iwae_cli.core.errors import CheckpointError
from iwae_cli.core.seeding import set_generator
from iwae_cli.runs.checkpoint import Checkpoint
from iwae_cli.runs.provenance import numerics
from iwae_cli.runs.training_state import TrainedOn, TrainingState
from iwae_cli.training.optimizers.state import check_state
from iwae_cli.training.resolve import ResolvedRun
from iwae_cli.training.trainer import Trainer

log = logging.getLogger("iwae")


def checkpoint_of(trainer: Trainer, run: ResolvedRun) -> Checkpoint:
    """Return a checkpoint.

    Raises:
        NonFiniteError: A parameter is NaN or infinite, so this state must not be saved.
    """
    return Checkpoint(
        config=run.plain,
        identity=run.identity,
        data=TrainedOn(
            hash=run.dataset.content_hash,
            label=run.dataset.label,
            binarization=run.binarisation.name,
            pixels=run.dataset.train.shape[1],
            image_shape=run.dataset.image_shape,
        ),
        training=trainer.state_dict(),
        model=trainer.model.state_dict(),
        optimizer=trainer.optimizer.state_dict(),
        versions=numerics(run.device, compiled=run.settings.compile),
    )


def restore(trainer: Trainer, run: ResolvedRun) -> None:
    """Continue from a run's checkpoint; warn where numbers can differ from an uninterrupted run.

    Raises:
        CheckpointError: It is not sound, or belongs to another run.
    """
    path = run.folder.checkpoint
    stored = Checkpoint.read(path)
    if stored.identity != run.identity:
        raise CheckpointError(
            f"{path} belongs to another run (identity {stored.identity[:8]}, "
            f"expected {run.identity[:8]}); move it away"
        )
    take_over(trainer, stored, run)
    try:
        check_progress(trainer, stored.training)
        trainer.load_state_dict(stored.training)
    except ValueError as error:
        raise unsound(run, error) from None
    before, now = stored.versions, numerics(run.device, compiled=run.settings.compile)
    changed = [
        f"{key} {before.get(key)} -> {now[key]}" for key in now if before.get(key) != now[key]
    ]
    if changed and not trainer.finished:
        differences = ", ".join(changed)
        log.warning("warning: resumed with %s: not bit for bit as if uninterrupted", differences)


def start_from(trainer: Trainer, parent: ResolvedRun) -> None:
    """Start from the parameters, optimiser state and generator state that `parent` ended with.

    Raises:
        CheckpointError: Its checkpoint is not sound, or belongs to another run.
    """
    stored = Checkpoint.read(parent.folder.checkpoint)
    take_over(trainer, stored, parent)
    try:
        set_generator(trainer.generator, stored.training.generator)
    except ValueError as error:
        raise unsound(parent, error) from None


def take_over(trainer: Trainer, stored: Checkpoint, run: ResolvedRun) -> None:
    """Take over parameters and moments; learning rate, decays, eps stay those of the recipe.

    Raises:
        CheckpointError: They cannot be this run's, or there are no moments: it was exported.
    """
    if not stored.optimizer:
        raise CheckpointError(
            "an exported model has no state of an optimiser: it can be evaluated, but training "
            "cannot go on from it; bring back the run's own checkpoint.pt"
        )
    own = trainer.optimizer.state_dict()
    shapes = {name: tensor.shape for name, tensor in trainer.model.state_dict().items()}
    try:
        if shapes != {name: tensor.shape for name, tensor in stored.model.items()}:
            raise ValueError("model has the parameters of another architecture")
        check_state(
            trainer.optimizer, stored.optimizer.get("state"), begun=stored.training.steps > 0
        )
    except ValueError as error:
        raise unsound(run, error) from None
    trainer.model.load_state_dict(stored.model)
    trainer.optimizer.load_state_dict({**own, "state": stored.optimizer["state"]})


def check_progress(trainer: Trainer, state: TrainingState) -> None:
    """Check that a stored state is of a training of as many images, steps and passes.

    Raises:
        ValueError: It is not.
    """
    order, total = state.order, trainer.recipe.total_passes
    require(
        order is not None and len(order) == len(trainer.train),
        "training.order is of another number of images",
    )
    require(state.pass_index <= total, f"training.pass_index is above the {total} passes")
    steps = trainer.steps_per_pass
    require(
        state.step_in_pass < (steps if state.pass_index < total else 1)
        and state.steps == state.pass_index * steps + state.step_in_pass,
        "training.steps is of passes of another length",
    )


def unsound(run: ResolvedRun, error: ValueError) -> CheckpointError:
    """Return the error for a checkpoint that training cannot go on from."""
    return CheckpointError(f"{run.folder.checkpoint} is no sound checkpoint of iwae: {error}")
