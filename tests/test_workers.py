"""Work side by side: in order, stopped when nobody reads on, and without a trace afterwards."""

import threading
import time
from contextlib import closing

import pytest
import torch
from conftest import limit

from iwae_cli.evaluation.parallel import side_by_side, workers_for


def test_results_come_in_order_from_several_threads_of_one_core_each() -> None:
    seen: set[tuple[str, int]] = set()
    barrier = threading.Barrier(2, timeout=limit(10))

    def square(number: int) -> int:
        barrier.wait()  # passes only where two are at work at once
        seen.add((threading.current_thread().name, torch.get_num_threads()))
        return number * number

    threads = torch.get_num_threads()
    assert list(side_by_side(square, range(20), workers=2)) == [n * n for n in range(20)]
    assert len(seen) == 2
    assert {count for _, count in seen} == {1}
    assert torch.get_num_threads() == threads


def test_an_error_arrives_and_what_has_not_begun_is_dropped() -> None:
    begun: list[int] = []

    def fail(number: int) -> None:
        begun.append(number)
        time.sleep(0.01)
        raise ValueError(f"number {number}")

    with pytest.raises(ValueError, match="number 0"):
        list(side_by_side(fail, range(1000), workers=2))
    assert len(begun) < 100


def test_closing_ends_the_work() -> None:
    begun: list[int] = []

    def slow(number: int) -> int:
        begun.append(number)
        time.sleep(0.01)
        return number

    with closing(side_by_side(slow, range(1000), workers=2)) as results:
        assert next(results) == 0
    count = len(begun)
    assert count < 100
    time.sleep(0.05)
    assert len(begun) == count


def test_one_worker_works_in_the_thread_that_asks() -> None:
    names = list(side_by_side(lambda _: threading.current_thread().name, range(3), workers=1))
    assert names == [threading.current_thread().name] * 3


def test_a_gpu_gets_one_worker() -> None:
    assert workers_for(torch.device("cuda")) == 1
    assert workers_for(torch.device("cpu")) == torch.get_num_threads()
