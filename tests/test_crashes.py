"""Work that is killed at random moments, over and over, ends like work that was left alone.

`IWAE_CRASH_KILLS` sets how many kills the slow test makes.
"""

import multiprocessing
import os
import random
import shutil
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from crash_runs import asked, limited, outcome, report, train

from iwae_cli.cli.launch import Plan

KILLS = int(os.environ.get("IWAE_CRASH_KILLS", "200"))
MOST_SECONDS = 1800.0


@dataclass
class Harness:
    """Works in processes of its own, which can be killed, on one sweep in one folder."""

    server: multiprocessing.context.ForkServerContext
    todo: Plan

    def process(self, work: Callable[[Plan], None], seconds: float, used: Any = None) -> int:  # noqa: ANN401  (a connection)
        """Do the work within that processor time; return the exit code."""
        process = self.server.Process(target=limited, args=(work, self.todo, seconds, used))
        process.start()
        process.join(MOST_SECONDS)
        assert process.exitcode in (0, -signal.SIGPROF)
        return process.exitcode

    def finished(self, work: Callable[[Plan], None]) -> float:
        """Do the work to its end; return the seconds of processor time that it took."""
        there, here = self.server.Pipe(duplex=False)
        assert self.process(work, 0.0, here) == 0
        return float(there.recv())

    def killed(self, work: Callable[[Plan], None], seconds: float) -> bool:
        """Kill the work after some processor time; return whether it was not done yet."""
        return self.process(work, max(seconds, 0.001)) != 0


@pytest.fixture(scope="module")
def server() -> multiprocessing.context.ForkServerContext:
    """Processes that begin with everything imported, so that kills hit the work."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["crash_runs"])
    return context


def killed_over_and_over(
    server: multiprocessing.context.ForkServerContext, folder: Path, *, kills: int, drawn: bool
) -> None:
    """Check that after so many kills, spread over all the work, the outcome is the same."""
    whole = Harness(server, asked(folder / "whole"))
    seconds, report_seconds = whole.finished(train), 0.0
    if drawn:
        report_seconds = whole.finished(report)
    expected, chance = outcome(folder / "whole"), random.Random(kills)
    made = 0
    while made < kills:
        outputs = Path(tempfile.mkdtemp(dir=folder))
        work = Harness(server, asked(outputs))
        # many kills on the way, until the work is done
        while made < kills and work.killed(train, 0.5 * seconds * chance.random() ** 2):
            made += 1
        work.finished(train)
        if drawn:
            made += work.killed(report, report_seconds * chance.random())
            work.finished(report)
        found = outcome(outputs)
        assert found.keys() == expected.keys()
        assert [name for name in found if found[name] != expected[name]] == []
        shutil.rmtree(outputs)
        print(
            f"{made} of {kills} kills; {seconds:.1f} s, report {report_seconds:.1f} s", flush=True
        )


@pytest.mark.long
def test_work_that_is_killed_a_few_times_ends_bit_for_bit_the_same(
    server: multiprocessing.context.ForkServerContext, tmp_path: Path
) -> None:
    killed_over_and_over(server, tmp_path, kills=4, drawn=False)


@pytest.mark.slow
def test_work_that_is_killed_very_often_ends_bit_for_bit_the_same(
    server: multiprocessing.context.ForkServerContext, tmp_path: Path
) -> None:
    killed_over_and_over(server, tmp_path, kills=KILLS, drawn=True)
