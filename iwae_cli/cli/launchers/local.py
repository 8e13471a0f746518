"""`launcher=local`: one run after another in this process."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from iwae_cli.cli.launchers.base import Here
from iwae_cli.cli.launchers.job import carry_out
from iwae_cli.cli.launchers.jobs import WITHOUT_PARENT, generations, work_of
from iwae_cli.core.progress import clock
from iwae_cli.core.signals import StopSignals
from iwae_cli.runs.sweep_folder import Job, SweepFolder

log = logging.getLogger("iwae")


@dataclass(frozen=True)
class Local(Here):
    """One run after another."""

    name: str = "local"

    def run(self, sweep: SweepFolder, jobs: Sequence[Job], signals: StopSignals) -> None:
        """Carry out the jobs; the first that a signal stops is the last."""
        time_left, failed = TimeLeft(jobs), set[int]()
        for job in (job for group in generations(jobs) for job in group):
            if signals.received is not None:
                return
            log.info("%s: %s", time_left.next(), job.name)
            if failed & set(job.needs):
                sweep.write_record(job.number, WITHOUT_PARENT)
                failed.add(job.number)
                continue
            record = carry_out(str(sweep.path), job)
            time_left.done(job, trained=not record.get("result", {}).get("already_finished"))
            if record["state"] == "stopped":
                return
            if record["state"] == "failed":
                failed.add(job.number)


class TimeLeft:
    """Says which of how many runs comes next, and how long they will take by those done here."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.total, self.number = len(jobs), 0
        self.left = sum(work_of(job) for job in jobs)
        self.work = self.seconds = 0.0
        self.last = time.monotonic()

    def next(self) -> str:
        """Return such as `run 3 of 27, 1:20:00 left`."""
        self.number += 1
        text = f"run {self.number} of {self.total}"
        return f"{text}, {clock(self.left * self.seconds / self.work)} left" if self.work else text

    def done(self, job: Job, *, trained: bool) -> None:
        """Note that a job has ended; one that had nothing to train says nothing of speed."""
        now, work = time.monotonic(), work_of(job)
        if trained:
            self.work, self.seconds = self.work + work, self.seconds + now - self.last
        self.left, self.last = self.left - work, now


LAUNCHER = Local
