"""What a checkpoint holds of a training, and how it goes on from there."""

import logging
from typing import Any

from iwae_cli.core.errors import CheckpointError
from iwae_cli.models.loading import load_parameters
from iwae_cli.runs import checkpoint
from iwae_cli.runs.provenance import numerics
from iwae_cli.training.resolve import ResolvedRun
from iwae_cli.training.trainer import Trainer

log = logging.getLogger("iwae")


def content_of(trainer: Trainer, run: ResolvedRun) -> dict[str, Any]:
    """Return a checkpoint's content."""
    return {
        "config": run.plain,
        "identity": run.identity,
        "data": {
            "hash": run.dataset.content_hash,
            "label": run.dataset.label,
            "binarization": run.dataset.binarization,
            "pixels": run.dataset.train.shape[1],
            "image_shape": run.dataset.image_shape,
        },
        "model": trainer.model.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "training": {**trainer.state(), "steps": trainer.steps},
        "versions": numerics(run.device, compiled=run.settings.compile),
    }


def restore(trainer: Trainer, run: ResolvedRun) -> None:
    """Continue from a run's checkpoint; warn where numbers can differ from an uninterrupted run.

    Raises:
        CheckpointError: It belongs to another run.
    """
    path = run.folder.checkpoint
    content = checkpoint.load(path)
    if content["identity"] != run.identity:
        raise CheckpointError(
            f"{path} belongs to another run (identity {content['identity'][:8]}, "
            f"expected {run.identity[:8]}); move it away"
        )
    load_parameters(trainer.model, content, path)
    load_optimizer_state(trainer, content)
    trainer.restore(content["training"])
    before, now = content["versions"], numerics(run.device, compiled=run.settings.compile)
    changed = [
        f"{key} {before.get(key)} -> {now[key]}" for key in now if before.get(key) != now[key]
    ]
    if changed and not trainer.finished:
        differences = ", ".join(changed)
        log.warning("warning: resumed with %s: not bit for bit as if uninterrupted", differences)


def start_from(trainer: Trainer, parent: ResolvedRun) -> None:
    """Start from the parameters, optimiser state and generator state that `parent` ended with."""
    content = checkpoint.load(parent.folder.checkpoint)
    load_parameters(trainer.model, content, parent.folder.checkpoint)
    load_optimizer_state(trainer, content)
    trainer.generator.set_state(content["training"]["generator"])


def load_optimizer_state(trainer: Trainer, content: dict[str, Any]) -> None:
    """Take over a checkpoint's moments; learning rate, decays, eps stay those of the recipe.

    Raises:
        CheckpointError: It has none: it was exported.
    """
    if not content["optimizer"]:
        raise CheckpointError(
            "an exported model has no state of an optimiser: it can be evaluated, but training "
            "cannot go on from it; bring back the run's own checkpoint.pt"
        )
    own = trainer.optimizer.state_dict()
    trainer.optimizer.load_state_dict({**own, "state": content["optimizer"]["state"]})
