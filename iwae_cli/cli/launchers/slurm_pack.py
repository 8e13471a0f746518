"""What one job of SLURM does on its node."""

import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iwae_cli.cli.launchers.job import carry_out
from iwae_cli.core.signals import StopSignals
from iwae_cli.runs.sweep_folder import Job, SweepFolder

# What SLURM and submitit send before a time limit; on SIGTERM SLURM itself queues a job again, or
# somebody has cancelled it.
WARNINGS = tuple(
    getattr(signal, name)
    for name in ("SIGUSR1", "SIGUSR2", "SIGXCPU", "SIGHUP")
    if hasattr(signal, name)
)


@dataclass(frozen=True)
class Pack:
    """What one job of SLURM does: it carries out the runs of a pack, side by side.

    Attributes:
        path: The sweep's folder.
        jobs: The runs.
        folder: Where the command was typed.
        max_requeues: How often the job may be queued again.
    """

    path: str
    jobs: tuple[Job, ...]
    folder: str
    max_requeues: int

    def __call__(self) -> None:
        """Carry out the runs; after a warning, queue the job again; exit 1 if a run failed."""
        import submitit

        environment = submitit.JobEnvironment()
        with StopSignals(forward=True) as signals:  # submitit's handler would not wait for runs
            if len(self.jobs) == 1:
                self._carry_out(self.jobs[0], environment.job_id)
            else:
                self._side_by_side(environment.job_id)
        sweep = SweepFolder(Path(self.path))
        records = {job.number: sweep.record(job.number) or {} for job in self.jobs}
        stopped = {n: record for n, record in records.items() if record.get("state") == "stopped"}
        again = int(os.environ.get("SLURM_RESTART_COUNT", "0")) < self.max_requeues
        if stopped and signals.received in WARNINGS and again:
            for number, record in stopped.items():
                sweep.write_record(number, record | {"state": "preempted"})
            subprocess.run(["scontrol", "requeue", environment.job_id], check=True)
            sys.exit(1)
        if any(record.get("state") != "finished" for record in records.values()):
            sys.exit(1)

    def _carry_out(self, job: Job, identifier: str) -> None:
        carry_out(self.path, job, identifier=identifier, folder=self.folder)

    def _side_by_side(self, identifier: str) -> None:
        """Run each in a process of its own; SLURM signals all processes of a job."""
        context = multiprocessing.get_context("spawn")
        processes = [
            context.Process(target=self._carry_out, args=(job, identifier)) for job in self.jobs
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()

    def checkpoint(self) -> Any:  # noqa: ANN401  (a class of submitit, an extra)
        """Return what submitit queues again when a warning comes before a run has begun."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)
