"""Settings of the whole process, made once before anything heavy is imported."""

import contextlib
import ctypes
import os
import sys

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


def open_standard_streams() -> None:
    """Open those of stdin, stdout and stderr that were closed as the null device.

    The next file to be opened would take the place of a closed one, and be written to as if it
    were the terminal.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:  # noqa: PLR2004  (that of stderr)
        pass
    os.close(number)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115  (until the end)
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115  (until the end)


def default_threads() -> int:
    """Return OMP_NUM_THREADS or what SLURM granted, where a number above 0, else all cores.

    All cores are those that this process may use. Of a list such as 4,2, which is for nested
    threads, the first counts.
    """
    for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK"):
        limit = os.environ.get(name, "").partition(",")[0].strip()
        if limit.isdecimal() and int(limit) > 0:
            return int(limit)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
