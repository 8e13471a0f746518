"""How much memory there is, and one line where it is not enough."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from iwae_cli.core.errors import OutOfMemory

# Where a container's limit and its use stand, in the two versions of control groups
CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


def available_bytes() -> float:
    """Return about how much memory this process may still take; infinity where nothing tells."""
    found = [float("inf")]
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable"))
        found.append(1024 * float(line.split()[1]))
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            found.append(limit - pages * resource.getpagesize())
    for limit_file, used_file in CGROUPS:
        with contextlib.suppress(OSError, ValueError):  # "max" is no number
            limit_bytes = float(Path(limit_file).read_text())
            found.append(limit_bytes - float(Path(used_file).read_text()))
    return max(0.0, min(found))


@contextlib.contextmanager
def enough_memory(advice: str) -> Iterator[None]:
    """Turn the ways in which memory runs out within the block into one line.

    Args:
        advice: What needs it and what to change, such as 'k=50; lower it'.

    Raises:
        OutOfMemory: Memory ran out.
    """
    try:
        yield
    except MemoryError:
        pass
    except RuntimeError as error:  # torch's own, on a processor and on a GPU
        text = str(error).lower()
        if "allocate memory" not in text and "out of memory" not in text:
            raise
    else:
        return
    raise OutOfMemory(f"not enough memory for {advice}")
