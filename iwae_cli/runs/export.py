"""A trained model as one small file, apart from its run."""

from pathlib import Path
from typing import Any

from torch import Tensor

from iwae_cli.core.errors import UsageError
from iwae_cli.runs import checkpoint
from iwae_cli.runs.folder import RunFolder, run_folder_of

# What is left of the state of training: how long it was, and what each pass came to
TRAINING = ("pass_index", "step_in_pass", "steps", "metrics")


def exported(content: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint's content with float32 parameters and without the optimiser's state."""
    model: dict[str, Tensor] = content["model"]
    kept = {key: content[key] for key in checkpoint.KEYS if key != "format"}
    return {
        **kept,
        "model": {name: tensor.float() for name, tensor in model.items()},
        "optimizer": {},
        "training": {key: content["training"][key] for key in TRAINING},
    }


def export(path: str | Path, *, output: Path | None = None) -> dict[str, Any]:
    """Write a run's model as a file that every command that evaluates can read.

    It holds the config, the run's identity and the hash of its data beside the parameters.

    Args:
        path: A run folder or a checkpoint file.
        output: The file; None for `<run>.pt` in the current folder.

    Raises:
        CheckpointError: The checkpoint is missing, damaged or foreign.
        UsageError: The file would be in the folder of a run.
    """
    folder, file = run_folder_of(path)
    name = folder.path.resolve().name.removesuffix(".pt")
    output = output or Path(f"{name}.pt")
    if RunFolder(output.parent).config.exists():
        raise UsageError(f"{output.parent} is the folder of a run; name another --output")
    content = checkpoint.load(file)
    output.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.save(output, exported(content))
    return {
        "file": str(output),
        "run": name,
        "identity": content["identity"],
        "data": content["data"]["label"],
        "data_hash": content["data"]["hash"],
        "passes": content["training"]["pass_index"],
        "bytes": output.stat().st_size,
    }
