"""A model from the content of a checkpoint."""

from pathlib import Path
from typing import Any

from iwae_cli.core import config
from iwae_cli.core.errors import CheckpointError
from iwae_cli.models.iwae import IWAE


def model_of(content: dict[str, Any], path: Path) -> IWAE:
    """Return the model of a checkpoint's content, on the CPU, in evaluation mode."""
    arch = config.build(config.Arch, content["config"]["arch"], where=f"{path}: arch")
    model = IWAE(content["data"]["pixels"], arch)
    load_parameters(model, content, path)
    return model.eval().requires_grad_(False)


def load_parameters(model: IWAE, content: dict[str, Any], path: Path) -> None:
    """Set a model's parameters to those of a checkpoint.

    Raises:
        CheckpointError: They belong to another architecture.
    """
    try:
        model.load_state_dict(content["model"])
    except RuntimeError:
        raise CheckpointError(f"{path} holds the parameters of another architecture") from None
