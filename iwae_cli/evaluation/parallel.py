"""Images side by side, each on a core of its own.

Evaluating an image is a chain of small operations; two cores get through two chains sooner than
through one after the other with both on every operation.
"""

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def workers_for(device: torch.device) -> int:
    """Return how many pieces of work can be done at once: one a thread of torch's, one on a GPU."""
    return torch.get_num_threads() if device.type == "cpu" else 1


def side_by_side(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    stop: Event | None = None,
) -> Generator[Result, None, None]:
    """Yield `work(item)` for each item in order, several at once, each on one thread.

    Args:
        work: Called for each item.
        items: All of them are taken at once.
        workers: How many at once.
        stop: Set when the caller takes no more: `work` that looks at it may end by an exception.
    """
    if workers == 1:
        yield from map(work, items)
        return
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield from pool.map(work, items)
    finally:
        if stop:
            stop.set()
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # what the last of them set holds for new threads
