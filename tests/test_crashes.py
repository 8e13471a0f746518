"""Work that is killed at random moments, over and over, ends like work that was left alone.

`IWAE_CRASH_KILLS` sets how many kills the slow test makes.
"""

import multiprocessing
import os
import random
import time
from pathlib import Path

import pytest
from crash_runs import everything, outcome

MOST_SECONDS = 600.0
KILLS = int(os.environ.get("IWAE_CRASH_KILLS", "200"))


@pytest.fixture(scope="module")
def server() -> multiprocessing.context.ForkServerContext:
    """Processes that begin with everything imported, so that kills hit the work."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["crash_runs"])
    return context


def finished(
    server: multiprocessing.context.ForkServerContext, outputs: Path, *, report: bool = False
) -> float:
    """Do all the work in a process of its own; return the seconds it took."""
    start = time.monotonic()
    process = server.Process(target=everything, args=(outputs, report))
    process.start()
    process.join(MOST_SECONDS)
    assert process.exitcode == 0
    return time.monotonic() - start


def killed(
    server: multiprocessing.context.ForkServerContext,
    outputs: Path,
    *,
    seconds: float,
    report: bool,
) -> bool:
    """Kill a process that works on `outputs` after some time; return whether it still ran."""
    process = server.Process(target=everything, args=(outputs, report))
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    assert process.exitcode in (0, -9)
    return process.exitcode != 0


def killed_over_and_over(
    server: multiprocessing.context.ForkServerContext, folder: Path, *, kills: int, report: bool
) -> None:
    """Check that after so many kills, spread over all the work, the outcome is the same."""
    whole = finished(server, folder / "whole", report=report)
    expected, chance = outcome(folder / "whole"), random.Random(kills)
    made = rounds = 0
    while made < kills:
        outputs = folder / f"killed{rounds}"
        outputs.mkdir()
        # several kills on the way, until the work is done in spite of them
        while made < kills and killed(
            server, outputs, seconds=chance.uniform(0, 0.6 * whole), report=report
        ):
            made += 1
        finished(server, outputs)
        assert outcome(outputs) == expected
        rounds += 1


def test_work_that_is_killed_a_few_times_ends_bit_for_bit_the_same(
    server: multiprocessing.context.ForkServerContext, tmp_path: Path
) -> None:
    killed_over_and_over(server, tmp_path, kills=3, report=False)


@pytest.mark.slow
def test_work_that_is_killed_very_often_ends_bit_for_bit_the_same(
    server: multiprocessing.context.ForkServerContext, tmp_path: Path
) -> None:
    killed_over_and_over(server, tmp_path, kills=KILLS, report=True)
