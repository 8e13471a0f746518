"""Images side by side, each part of them on one core.

A core that works through all layers of its own images waits for the others once, not after every
operation, and finds what it has just made in its cache.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import TypeVar

import torch

from iwae_cli.models.matmul import unobserved

Result = TypeVar("Result")
# Rows of one piece: with fewer, calls take longer than what they do; with more, memory is slow.
ROWS = 4096
# A core gets a part of its own from so many rows on: with fewer, its calls and those of the others
# wait for each other longer than operations that are split up do.
FEW_ROWS = 6000


def one_per_core(images: int, k: int, device: torch.device) -> list[slice]:
    """Return a part of the images for each core of this thread, of equal sizes but the last.

    Where those would have few rows there is one part, and every operation is split up.
    """
    cores = min(torch.get_num_threads(), images)
    if device.type != "cpu" or not unobserved() or images * k < cores * FEW_ROWS:
        return [slice(images)]
    return in_parts(images, cores)


def pieces_of(images: int, k: int, device: torch.device) -> list[slice]:
    """Return parts of the images whose samples fit into a core's cache."""
    if device.type != "cpu" or not unobserved():
        return [slice(images)]
    return in_parts(images, min(-(-images * k // ROWS), images))


def in_parts(images: int, number: int) -> list[slice]:
    """Return at most `number` slices of `images`, of equal sizes but the last."""
    size = -(-images // number)
    return [slice(first, min(first + size, images)) for first in range(0, images, size)]


def side_by_side(work: Callable[[slice], Result], parts: Sequence[slice]) -> list[Result]:
    """Return `work(part)`, without gradient, of each part in order, each on a core of its own.

    The caller takes the first part. Operations of `work` run on one thread.
    """
    if len(parts) == 1:
        return [work(parts[0])]

    def without_gradient(part: slice) -> Result:  # whether there is one is each thread's own
        with torch.inference_mode():
            return work(part)

    cores = torch.get_num_threads()
    others = [pool(cores - 1).submit(without_gradient, part) for part in parts[1:]]
    torch.set_num_threads(1)
    try:
        return [without_gradient(parts[0]), *(other.result() for other in others)]
    finally:
        wait(others)
        torch.set_num_threads(cores)


@cache
def pool(workers: int) -> ThreadPoolExecutor:
    """Return threads that stay, each with one thread of torch's."""
    threads = torch.get_num_threads()
    made = ThreadPoolExecutor(workers, "core", torch.set_num_threads, (1,))
    started = threading.Barrier(workers + 1)
    for _ in range(workers):
        made.submit(started.wait)
    started.wait()
    torch.set_num_threads(threads)  # what the last of them set holds for new threads
    return made
