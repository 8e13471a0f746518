"""A run opened for reading: its folder and its checkpoint, which must belong together."""

import logging
import re
from pathlib import Path
from typing import Any

from iwae_cli.core.errors import CheckpointError
from iwae_cli.runs.checkpoint import Checkpoint
from iwae_cli.runs.config_yaml import config_digest, differences, read_config
from iwae_cli.runs.environment_json import read_environment
from iwae_cli.runs.folder import RunFolder
from iwae_cli.runs.unsaved import run_folder_of

log = logging.getLogger("iwae")


def opened(path: str | Path, *, restore: bool = True) -> tuple[RunFolder, Checkpoint]:
    """Return the folder and the checkpoint of a run, or of a checkpoint outside of one.

    A config.yaml that is missing, or says that the run is another, is restored from the checkpoint.

    Args:
        path: A run folder or a checkpoint file.
        restore: False leaves config.yaml as it is.

    Raises:
        CheckpointError: The checkpoint is missing, not sound, or that of another run.
    """
    folder, file = run_folder_of(path)
    stored = Checkpoint.read(file)
    if folder.saved:
        environment = environment_of(folder)
        check_identity(folder, stored, environment)
        if restore:
            restore_config(folder, stored, environment)
    return folder, stored


def environment_of(folder: RunFolder) -> dict[str, Any]:
    """Return the content of environment.json, empty where it is missing or damaged."""
    try:
        return read_environment(folder.environment)
    except (OSError, ValueError):
        return {}


def check_identity(folder: RunFolder, stored: Checkpoint, environment: dict[str, Any]) -> None:
    """Raise CheckpointError unless the folder is that of the checkpoint's run."""
    name = re.search("-([0-9a-f]{8})$", folder.path.resolve().name)
    others = {str(environment.get("identity") or stored.identity)[:64]} | (
        {name[1]} if name else set()
    )
    for other in others:
        if not stored.identity.startswith(other):
            raise CheckpointError(
                f"{folder.checkpoint} belongs to another run (identity {stored.identity[:8]}, "
                f"expected {other[:8]}); bring back the folder's own, or move it elsewhere"
            )


def restore_config(folder: RunFolder, stored: Checkpoint, environment: dict[str, Any]) -> None:
    """Write config.yaml anew where it does not say what the run is, and name the difference."""
    try:
        changes = differences(read_config(folder.config), stored.config)
        fault = f"was changed after training ({', '.join(changes)})" if changes else ""
    except FileNotFoundError:
        fault = "is missing"
    except (OSError, ValueError) as error:
        fault = f"cannot be read ({error})"
    try:
        if fault:
            folder.write_config(stored.config)
            log.warning("warning: %s %s: restored from the checkpoint", folder.config, fault)
        digests = {"config": config_digest(stored.config)}
        if stored.training.pass_index == environment.get("total_passes"):
            digests["parameters"] = stored.parameters_digest
        if environment and environment != {**environment, **digests}:
            folder.write_environment({**environment, **digests})
    except OSError:
        if fault:
            log.warning(
                "warning: %s %s and cannot be restored; what the run is was read from its "
                "checkpoint",
                folder.config,
                fault,
            )
