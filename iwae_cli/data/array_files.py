"""Files of numbers: .npy, .npz, .mat, idx and .csv, each read into named arrays."""

import gzip
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from tokenize import TokenError
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from iwae_cli.core.errors import DataError

Array = NDArray[Any]
Found = TypeVar("Found")
# Types of idx files by the third byte of their first four
IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
KINDS = ".npy, .npz, .mat, idx (plain or gzipped) and .csv"
# Errors by which a reader says that a file is not what it seems
DAMAGED: tuple[type[Exception], ...] = (
    *(OSError, ValueError, EOFError, MemoryError, KeyError, NotImplementedError),
    *(TypeError, IndexError, SyntaxError, TokenError, zipfile.BadZipFile, zlib.error),
)


def keys_of(path: str) -> list[str]:
    """Return the names of the arrays of a file that has names, none of one that has none.

    Raises:
        DataError: The file is missing or damaged.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    if Path(path).suffix == ".mat":
        return list(guarded(path, read_mat))
    return []


def read(path: str, key: str | None = None) -> Array:
    """Return one array of a file.

    Nothing in a file is executed: pickles and object arrays are refused.

    Args:
        path: Its kind is told by its ending or its first bytes.
        key: Name of the array, in a .npz or .mat file.

    Raises:
        DataError: The file is missing, damaged, of another kind, or has no such array.
    """
    if zipfile.is_zipfile(path):
        return guarded(path, lambda file: read_npz(file, str(key)))
    if Path(path).suffix == ".mat":
        return guarded(path, lambda file: read_mat(file)[str(key)])
    if Path(path).suffix == ".csv":
        return guarded(path, read_csv)
    return guarded(path, lambda file: read_idx(file) if is_idx(file) else read_npy(file))


def guarded(path: str, reader: Callable[[str], Found]) -> Found:
    """Return `reader(path)`; what may go wrong with a file becomes one DataError."""
    try:
        return reader(path)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; {around(path)}") from None
    except DataError:
        raise
    except DAMAGED as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if "pickle" in reason or "object" in reason:  # numpy's answer to what it does not know
            reason = "it is damaged, or holds Python objects"
        raise DataError(
            f"{path} is not a file of plain numbers: {reason}; files may be {KINDS}"
        ) from None


def around(path: str) -> str:
    """Return what there is in the folder of a file that is missing."""
    where = Path(path).parent
    if not where.is_dir():
        return f"there is no folder {where}"
    there = sorted(p.name for p in where.glob("*") if p.is_file())
    return f"in {where} there is {', '.join(there[:8]) or 'no file'}"


def read_npy(path: str) -> Array:
    """Return the array of a .npy file."""
    with open(path, "rb") as stream:
        loaded: Array = np.load(stream, allow_pickle=False)  # a pickle could run any code
        return loaded


def read_npz(path: str, key: str) -> Array:
    """Return the array `key` of a .npz file."""
    with np.load(path, allow_pickle=False) as stored:
        found: Array = stored[key]
        return found


def read_mat(path: str) -> dict[str, Array]:
    """Return the arrays of a MATLAB file up to version 7.2 by their names."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        found = loadmat(path)
    except MatReadError as error:
        raise ValueError(error) from None
    return {name: array for name, array in found.items() if not name.startswith("__")}


def read_csv(path: str) -> Array:
    """Return the numbers of a .csv file, a row a line, [N, D]; integers if all are whole.

    Raises:
        DataError: Words, or lines of different lengths.
    """
    rows: list[list[float]] = []
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            cells = line.strip().split(",")
            if cells == [""]:
                continue
            try:
                rows.append([float(cell) for cell in cells])
            except ValueError:
                word = next(cell for cell in cells if not is_number(cell))
                raise DataError(
                    f"{path}: line {number} holds '{word[:40]}'; a .csv must hold numbers with "
                    "commas between them and no headings"
                ) from None
            if len(cells) != len(rows[0]):
                raise DataError(
                    f"{path}: line {number} has {len(cells)} numbers, the first has "
                    f"{len(rows[0])}; all must have as many"
                )
    table = np.array(rows)
    whole = np.isfinite(table).all() and (table == np.floor(table)).all()
    return table.astype(np.int64) if whole else table


def is_number(cell: str) -> bool:
    """Return whether a text is a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def opened(path: str) -> bytes:
    """Return the bytes of a file, unpacked if it is gzipped."""
    content = Path(path).read_bytes()
    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


def is_idx(path: str) -> bool:
    """Return whether a file starts as idx files do."""
    with open(path, "rb") as stream:
        start = stream.read(4)
    if start[:2] == b"\x1f\x8b":
        with gzip.open(path) as unpacked:
            start = unpacked.read(4)
    return len(start) == 4 and start[:2] == b"\0\0" and start[2] in IDX_TYPES and start[3] > 0


def read_idx(path: str) -> Array:
    """Return the array of an idx file, such as those of MNIST.

    Raises:
        ValueError: Its length is not what its header says.
    """
    content = opened(path)
    dims = content[3]
    shape = [int(n) for n in np.frombuffer(content, ">u4", dims, offset=4)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = np.frombuffer(content, IDX_TYPES[content[2]], offset=4 + 4 * dims)
    if len(values) != np.prod(shape, dtype=np.int64):
        raise ValueError(f"its header says {shape}, it has {len(values)} numbers")
    return values.reshape(shape)
