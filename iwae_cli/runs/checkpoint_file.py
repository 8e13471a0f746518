"""The file format of checkpoints: a zip of a pickle and tensors, read without running any code."""

import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from iwae_cli.core.atomic_write import write_atomically
from iwae_cli.core.errors import CheckpointError

# Lists, mappings and values that a checkpoint may have apart from its tensors' elements
MOST_VALUES = 2_000_000
PLAIN = (str, int, float, bool, type(None))


def write_content(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint's content, serialised in memory first.

    Raises:
        CheckpointError: The file could not be written; the older one is untouched.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    try:
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        raise CheckpointError(unsaved(path, error)) from None


def unsaved(path: Path, error: OSError) -> str:
    """Return why a checkpoint was not written, and what to do."""
    if not path.parent.is_dir():
        return f"could not save {path}: its folder {path.parent} is gone"
    kept = "; the last good checkpoint is untouched" if path.exists() else ""
    return (
        f"could not save {path}: {error.strerror}{kept}; make room and run the same command again "
        "to resume"
    )


def read_content(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint, its tensors on the CPU; the values are not checked.

    What it holds are strings, numbers, None, lists, tuples, mappings and dense tensors alone.

    Raises:
        CheckpointError: The file is missing, cannot be read, is truncated or damaged, or holds
            other types, which are never executed.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}; train one with 'iwae train'")
    try:
        if check_archive(path):
            with warnings.catch_warnings(action="ignore"):  # of foreign pickle protocols
                content = torch.load(path, map_location="cpu", weights_only=True)
            if isinstance(content, dict):
                check_types(content)
                return content
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001, S110  (a hand-made pickle can make torch.load raise anything)
        pass
    raise CheckpointError(
        f"{path} is damaged or no checkpoint of iwae (nothing in it was run); bring back a copy, "
        "or remove it and train again"
    )


def check_archive(path: Path) -> bool:
    """Return whether a file is a zip that is whole and takes no more memory than disk."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
            fits = sum(member.file_size for member in members) <= path.stat().st_size
            names = {member.filename for member in members}
            # torch does not look at the checksums
            return stored and fits and len(names) == len(members) and archive.testzip() is None
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, RuntimeError):
        return False


def check_types(content: object, *, most: int = MOST_VALUES) -> None:
    """Check that there are plain types and dense tensors alone, and not too many of them.

    Raises:
        ValueError: There is something else.
    """
    waiting = [content]
    while waiting:
        most -= 1
        if most < 0:
            raise ValueError("too many values")
        value = waiting.pop()
        if isinstance(value, Tensor):
            dense = type(value) is Tensor and value.layout is torch.strided
            if not dense or value.device.type != "cpu" or value.is_quantized:
                raise ValueError("a tensor that is not dense")
            if value.numel() * value.element_size() > value.untyped_storage().nbytes():
                raise ValueError("a tensor larger than its storage")
        elif isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple):
            waiting += value
        elif not isinstance(value, PLAIN):
            raise ValueError(f"a {type(value).__name__}")
