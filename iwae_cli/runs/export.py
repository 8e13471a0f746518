"""A trained model as one small file, apart from its run."""

import dataclasses
from pathlib import Path
from typing import Any

from iwae_cli.core.errors import UsageError
from iwae_cli.runs.checkpoint import Checkpoint
from iwae_cli.runs.folder import RunFolder
from iwae_cli.runs.opening import opened
from iwae_cli.runs.training_state import TrainingState


def exported(stored: Checkpoint) -> Checkpoint:
    """Return a checkpoint with float32 parameters and without the optimiser's state."""
    training = stored.training
    return dataclasses.replace(
        stored,
        model={name: tensor.float() for name, tensor in stored.model.items()},
        optimizer={},
        training=TrainingState(
            pass_index=training.pass_index,
            step_in_pass=training.step_in_pass,
            steps=training.steps,
            metrics=training.metrics,
        ),
    )


def export(path: str | Path, *, output: Path | None = None) -> dict[str, Any]:
    """Write a run's model as a file that every command that evaluates can read.

    It holds the config, the run's identity and the hash of its data beside the parameters.

    Args:
        path: A run folder or a checkpoint file.
        output: The file; None for `<run>.pt` in the current folder.

    Example:
        >>> export(run.folder)["run"] == run.folder.name
        True

    Raises:
        CheckpointError: The checkpoint is missing, damaged or foreign.
        UsageError: The file would be in the folder of a run.
    """
    folder, stored = opened(path)
    name = folder.path.resolve().name.removesuffix(".pt")
    output = output or Path(f"{name}.pt")
    if RunFolder(output.parent).config.exists():
        raise UsageError(f"{output.parent} is the folder of a run; name another --output")
    output.parent.mkdir(parents=True, exist_ok=True)
    exported(stored).write(output)
    return {
        "file": str(output),
        "run": name,
        "identity": stored.identity,
        "data": stored.data.label,
        "data_hash": stored.data.hash,
        "passes": stored.training.pass_index,
        "bytes": output.stat().st_size,
    }
