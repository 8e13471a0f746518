"""Files that are the old or the new one after a crash, never a part of either."""

import contextlib
import errno
import glob
import io
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from iwae_cli.core.errors import IwaeError

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("iwae")

# How network drives answer what they cannot do
UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
warned: set[str] = set()


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by a file that holds `content`: after a crash it is the old or the new one.

    Raises:
        OSError: The file, which the error names, could not be written; the old one is untouched,
            nothing else is left.
    """
    with naming(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=temporary_prefix(path))
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                flush(file.fileno(), path)
            with contextlib.suppress(OSError):  # drives that have no modes
                temporary.chmod(0o644)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        flush_folder(path.parent)


def temporary_prefix(path: Path) -> str:
    """Return how the names of files begin that are to replace `path`."""
    return f".{path.name}."


def remove_leftovers(*paths: Path) -> None:
    """Remove what a killed process left of writes of `paths`; nobody may be writing them."""
    for path in paths:
        for temporary in path.parent.glob(f"{glob.escape(temporary_prefix(path))}????????"):
            with contextlib.suppress(OSError):  # of no use, but no harm either
                temporary.unlink()


def flush(descriptor: int, path: Path) -> None:
    """Bring a file or folder to the disk, or warn once where the drive cannot."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        if str(path.parent) not in warned:
            warned.add(str(path.parent))
            log.warning(
                "warning: the drive of %s cannot flush: a power cut can lose what was written last",
                path,
            )


def flush_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    if os.name == "nt":  # which opens no folders, and has no need to
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        flush(descriptor, folder)
    finally:
        os.close(descriptor)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an OSError of the block name the file that it is about, and a folder that is gone."""
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        if error.errno == errno.ENOENT and not path.parent.is_dir():
            why = f"its folder {path.parent} is gone"
        raise OSError(error.errno or errno.EIO, why, str(path)) from None


def write_table(path: Path, table: "pd.DataFrame") -> None:
    """Replace `path` by a CSV of `table`."""
    write_atomically(path, table.to_csv(index=False).encode())


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Replace `path` by a compressed npz of `arrays`."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Make the folder of a file that the block writes, and report in one line if that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise IwaeError(f"cannot write {path}: {error.strerror}; name another --output") from None


def write_json(path: Path, content: object) -> None:
    """Replace a file by `content` as JSON."""
    write_atomically(path, (json.dumps(content) + "\n").encode())


def read_json(path: Path) -> Any:  # noqa: ANN401  (whatever it holds)
    """Return what a JSON file holds."""
    return json.loads(path.read_text())
