"""Settings of the whole process, made once before anything heavy is imported."""

import contextlib
import ctypes
import os

# Codes of glibc's mallopt, see malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def tune() -> None:
    """Let freed memory be used again, and waiting threads let go of their cores.

    GNU OpenMP's threads spin while they wait, so two processes on the same cores starve each
    other. glibc gives every large buffer back to the system at once, and faulting its pages in
    anew at each step costs as much as the matrix product that fills it.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


def default_threads() -> int:
    """Return OMP_NUM_THREADS where it is set, else the number of cores this process may use."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    if limit.isdecimal():
        return int(limit)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
