"""`launcher=joblib`: several runs side by side on this machine, in worker processes of joblib."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from iwae_cli.cli.launchers.base import Here
from iwae_cli.cli.launchers.job import carry_out
from iwae_cli.cli.launchers.jobs import WITHOUT_PARENT, generations
from iwae_cli.cli.launchers.local import TimeLeft
from iwae_cli.core.config import require
from iwae_cli.core.errors import IwaeError
from iwae_cli.core.signals import StopSignals
from iwae_cli.runs.sweep_folder import FINAL, Job, SweepFolder

log = logging.getLogger("iwae")


@dataclass(frozen=True)
class Joblib(Here):
    """Several runs side by side.

    Attributes:
        n_jobs: How many; -1 for as many as there are cores.
    """

    name: str = "joblib"
    n_jobs: int = -1
    package: ClassVar[str | None] = "joblib"

    def __post_init__(self) -> None:
        require(
            self.n_jobs == -1 or self.n_jobs >= 1, f"n_jobs must be -1 or more, got {self.n_jobs}"
        )

    def run(self, sweep: SweepFolder, jobs: Sequence[Job], signals: StopSignals) -> None:
        """Carry out the jobs, one generation after another.

        A worker that is killed takes those beside it along. Which one it was is not known, so that
        they are carried out again one by one; one that is killed again is left with the record of
        a run that is under way.
        """
        time_left = TimeLeft(jobs)
        for group in generations(jobs):
            left = self._with_parents(sweep, group)
            while left and signals.received is None:
                before = len(left)
                self._side_by_side(sweep, left, signals, time_left)
                left = [job for job in left if not ended(sweep, job)]
                suspects = [job for job in left if sweep.record(job.number) is not None]
                if not suspects and len(left) == before and signals.received is None:
                    raise IwaeError(
                        "worker processes end before a run begins: launcher=local shows why"
                    )
                for job in suspects:
                    if signals.received is None:
                        log.warning("a worker process was killed: %s goes on alone", job.name)
                        self._side_by_side(sweep, [job], signals, time_left)
                left = [job for job in left if job not in suspects]

    def _side_by_side(
        self, sweep: SweepFolder, jobs: Sequence[Job], signals: StopSignals, time_left: TimeLeft
    ) -> None:
        from joblib import Parallel, delayed
        from joblib.externals.loky.process_executor import TerminatedWorkerError

        def calls() -> Iterator[object]:
            for job in jobs:
                if signals.received is not None:
                    return
                log.info("%s: %s", time_left.next(), job.name)
                yield delayed(carry_out_in_worker)(str(sweep.path), job)

        pool = Parallel(
            n_jobs=self.n_jobs,
            pre_dispatch="n_jobs",
            batch_size=1,
            return_as="generator_unordered",
        )
        try:
            for number in pool(calls()):
                result = (sweep.record(number) or {}).get("result", {})
                job = next(job for job in jobs if job.number == number)
                time_left.done(job, trained=not result.get("already_finished"))
        except TerminatedWorkerError:
            pass  # told from the records that are missing
        except Exception:  # workers end in their own ways when they are told to
            if signals.received is None:
                raise

    def _with_parents(self, sweep: SweepFolder, group: Sequence[Job]) -> list[Job]:
        left = []
        for job in group:
            records = [sweep.record(number) or {} for number in job.needs]
            if all(record.get("state") == "finished" for record in records):
                left.append(job)
            else:
                sweep.write_record(job.number, WITHOUT_PARENT)
        return left


def carry_out_in_worker(path: str, job: Job) -> int:
    """Carry out a job and return its number; its log goes to the job's file alone."""
    carry_out(path, job)
    return job.number


def ended(sweep: SweepFolder, job: Job) -> bool:
    """Return whether a job has ended by itself or by a signal."""
    record = sweep.record(job.number)
    return record is not None and record["state"] in (*FINAL, "stopped")


LAUNCHER = Joblib
