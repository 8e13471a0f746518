"""Arrays of results in an npz, read without pickles and with a bound on their memory."""

import io
import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST_BYTES = 4 * 2**30
# No deflated member is smaller than this share of its content
SMALLEST_SHARE = 1 / 1100


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of an npz by name.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is damaged or no npz, or holds Python objects, which are never unpickled.
    """
    file = io.BytesIO(path.read_bytes())
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            packed = all(
                member.compress_size >= SMALLEST_SHARE * member.file_size - 1024
                for member in members
            )
            if size > LARGEST_BYTES or not packed:
                raise ValueError("too large for results")
        file.seek(0)
        with np.load(file, allow_pickle=False) as stored:
            return dict(stored)
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError) as error:
        raise ValueError(str(error) or "damaged") from None
    except (NotImplementedError, RuntimeError, LookupError, TypeError, SyntaxError) as error:
        raise ValueError(f"damaged: {error}") from None  # headers that no writer makes
    except TokenError:  # of numpy, which takes an odd header for one of Python 2
        raise ValueError("damaged: an array's header is cut") from None
