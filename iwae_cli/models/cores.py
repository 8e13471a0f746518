"""Pieces of a forward pass side by side, each on one core.

A core that works through all layers of its own rows waits for the other once, not after every
operation, and finds what it has just made in its cache.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor

from iwae_cli.models.products import unobserved

Piece = TypeVar("Piece")
# Rows of one piece: with fewer, calls take longer than what they do; with more, memory is slow.
ROWS = 1024
# Fewer rows are not shared out.
FEW_ROWS = 256


def pieces_of(images: int, k: int, device: torch.device) -> list[slice]:
    """Return parts of the images whose samples make a piece each, all of one size but the last."""
    rows = images * k
    if device.type != "cpu" or not unobserved() or rows < 2 * FEW_ROWS:
        return [slice(images)]
    cores = torch.get_num_threads()
    number = -(-rows // (ROWS * cores)) * cores
    size = -(-images // min(number, images))
    return [slice(first, min(first + size, images)) for first in range(0, images, size)]


def side_by_side(work: Callable[[Piece], Tensor], pieces: Sequence[Piece]) -> list[Tensor]:
    """Return `work(piece)`, without gradient, of each piece in order; cores take them in turn.

    Args:
        work: Whose operations run on one thread where there are several pieces and cores.
        pieces: All are done by the caller where there is one, or one core.
    """
    cores = torch.get_num_threads()
    if len(pieces) == 1 or cores == 1:
        return [work(piece) for piece in pieces]

    def without_gradient(piece: Piece) -> Tensor:  # whether there is one is each thread's own
        with torch.inference_mode():
            return work(piece)

    return list(pool(cores).map(without_gradient, pieces))


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
