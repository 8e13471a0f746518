"""Checkpoints: one file of plain types, written atomically, read without running any code."""

import io
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from iwae_cli.core.atomic_write import write_atomically
from iwae_cli.core.config import FORMAT_VERSION
from iwae_cli.core.errors import CheckpointError

KEYS = ("format", "config", "identity", "data", "model", "optimizer", "training", "versions")


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint, serialised in memory first.

    Args:
        path: The file; an older one is kept until the new one is whole.
        content: The keys `KEYS` but `format`; tensors, numbers, strings, lists and dicts alone.

    Raises:
        CheckpointError: The file could not be written; the older one is untouched.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT_VERSION, **content}, buffer)
    try:
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        raise CheckpointError(
            f"could not save {path}: {error.strerror}; the last good checkpoint is untouched; "
            "make room and run the same command again to resume"
        ) from None


def load(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint, its tensors on the CPU.

    Raises:
        CheckpointError: The file is missing, truncated, no checkpoint, holds more than plain
            types (which is never executed), or has another format number.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}; train one with 'iwae train'")
    try:
        with warnings.catch_warnings(action="ignore"):  # of foreign pickle protocols
            content = torch.load(path, map_location="cpu", weights_only=True)
        with zipfile.ZipFile(path) as archive:  # torch does not look at the checksums
            damaged = archive.testzip()
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path} is no checkpoint of iwae: it holds something other than plain tensors, "
            "numbers and strings; nothing in it was run"
        ) from None
    except (RuntimeError, EOFError, ValueError, LookupError, OSError, zipfile.BadZipFile):
        damaged = "as a whole"
    if damaged:
        raise CheckpointError(
            f"{path} is damaged or no checkpoint of iwae; bring back a copy, or remove it and "
            "train again"
        )
    if not isinstance(content, dict) or any(key not in content for key in KEYS):
        raise CheckpointError(f"{path} is no checkpoint of iwae: keys are missing")
    if content["format"] != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format {content['format']}, this version of iwae reads format "
            f"{FORMAT_VERSION}; use the version that wrote it: {content['versions'].get('iwae')}"
        )
    return content
