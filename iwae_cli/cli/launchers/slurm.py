"""`launcher=slurm`: the runs of a sweep as jobs of SLURM, submitted with submitit."""

import getpass
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from iwae_cli.cli.launchers.base import Active, Engine, EngineAway
from iwae_cli.cli.launchers.slurm_pack import Pack
from iwae_cli.core.config import require
from iwae_cli.runs.sweep_folder import Job, SweepFolder

# States of jobs that have begun
RUNNING = ("RUNNING", "COMPLETING", "STOPPED", "SUSPENDED")
# Jobs of one array: a usual limit of a cluster's MaxArraySize is 1001
LARGEST_ARRAY = 500
ASKED_TIMES = 10
COUNTS = ("timeout_min", "cpus_per_run", "runs_per_gpu", "array_parallelism", "signal_delay_s")


@dataclass(frozen=True)
class Slurm(Engine):
    """Jobs of SLURM; see conf/launcher/slurm.yaml for the options."""

    name: str = "slurm"
    timeout_min: int = 240
    cpus_per_run: int = 1
    mem_gb: float = 4.0
    gpus_per_node: int | None = None
    runs_per_gpu: int = 1
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    array_parallelism: int = 256
    signal_delay_s: int = 90
    max_requeues: int = 100
    setup: list[str] = field(default_factory=list)
    package: ClassVar[str | None] = "submitit"

    def __post_init__(self) -> None:
        for name in COUNTS:
            require(getattr(self, name) >= 1, f"{name} must be at least 1")
        gpus = self.gpus_per_node
        require(gpus is None or gpus >= 1, f"gpus_per_node must be at least 1, got {gpus}")
        require(self.mem_gb > 0, f"mem_gb must be positive, got {self.mem_gb}")
        require(self.max_requeues >= 0, f"max_requeues must be 0 or more, got {self.max_requeues}")

    def check(self) -> None:
        """Raise an IwaeError unless submitit and SLURM are there."""
        super().check()
        output("sinfo", "--version")

    def submit(
        self, sweep: SweepFolder, jobs: Sequence[Job], queued: Mapping[int, str]
    ) -> Mapping[int, str]:
        """Submit arrays of jobs, one for each set of jobs that they wait for."""
        ids: dict[int, str] = {}
        waiting = {
            job.number: tuple(sorted({queued[n] for n in job.needs if n in queued})) for job in jobs
        }
        for needs in sorted(set(waiting.values())):
            alike = [job for job in jobs if waiting[job.number] == needs]
            packs = [
                alike[start : start + self.runs_per_gpu]
                for start in range(0, len(alike), self.runs_per_gpu)
            ]
            for start in range(0, len(packs), LARGEST_ARRAY):
                ids |= self._submit_array(sweep, packs[start : start + LARGEST_ARRAY], needs)
        return ids

    def _submit_array(
        self, sweep: SweepFolder, packs: Sequence[Sequence[Job]], needs: Sequence[str]
    ) -> dict[int, str]:
        import submitit

        executor = submitit.SlurmExecutor(
            folder=sweep.path / "engine", max_num_timeout=self.max_requeues
        )
        executor.update_parameters(**self._parameters(sweep, needs))
        try:
            with executor.batch():
                calls = [
                    executor.submit(
                        Pack(str(sweep.path), tuple(pack), str(Path.cwd()), self.max_requeues)
                    )
                    for pack in packs
                ]
        except submitit.core.utils.FailedJobError as error:
            reasons = [line for line in str(error).splitlines() if line.startswith("sbatch: error")]
            said = (reasons or str(error).splitlines() or ["no reason given"])[-1]
            raise EngineAway(f"SLURM refuses the jobs: {said}; see launcher.*") from None
        return {
            job.number: str(call.job_id)
            for call, pack in zip(calls, packs, strict=True)
            for job in pack
        }

    def _parameters(self, sweep: SweepFolder, needs: Sequence[str]) -> dict[str, Any]:
        more: dict[str, Any] = {"requeue": True}
        if needs:
            more["kill-on-invalid-dep"] = "yes"
        return {
            "job_name": job_name(sweep),
            "time": self.timeout_min,
            "cpus_per_task": self.cpus_per_run * self.runs_per_gpu,
            "mem": f"{round(self.mem_gb * self.runs_per_gpu * 1024)}MB",
            "gpus_per_node": self.gpus_per_node,
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "constraint": self.constraint,
            "array_parallelism": self.array_parallelism,
            "signal_delay_s": self.signal_delay_s,
            "setup": self.setup or None,
            "dependency": "afterok:" + ":".join(needs) if needs else None,
            "additional_parameters": more,
        }

    def active(self, sweep: SweepFolder) -> Mapping[int, Active]:
        """Return the jobs in SLURM's queue."""
        there = queue(sweep)
        return {n: there[name] for n, name in sweep.submitted().items() if name in there}

    def clear_strays(self, sweep: SweepFolder) -> None:
        """Cancel jobs that were submitted but not noted, because the submitter was killed."""
        known = set(sweep.submitted().values())
        if strays := [name for name in queue(sweep) if name not in known]:
            output("scancel", *strays)

    def cancel(self, sweep: SweepFolder) -> None:
        """Cancel all jobs; running ones get SIGTERM, save and end."""
        if there := queue(sweep):
            output("scancel", *there)

    def end_of(self, sweep: SweepFolder, number: int, identifier: str) -> str:
        """Return the state that SLURM's accounting has of a job."""
        for _ in range(ASKED_TIMES):  # accounting hears of an end some seconds later
            try:
                found = output("sacct", "-n", "-X", "-P", "-j", identifier, "-o", "State").split()
            except EngineAway:  # a cluster without accounting
                break
            if found and found[0] not in ("PENDING", *RUNNING):
                return found[0]
            time.sleep(1)
        return "gone from the queue"

    def log_of(self, sweep: SweepFolder, number: int, identifier: str) -> Path:
        """Return what the job wrote to stderr."""
        return sweep.path / "engine" / f"{identifier}_0_log.err"


def job_name(sweep: SweepFolder) -> str:
    """Return the name of a sweep's jobs in SLURM's queue."""
    return f"iwae-{sweep.name}"


def queue(sweep: SweepFolder) -> dict[str, Active]:
    """Return the jobs of a sweep that SLURM's queue has, by their ids."""
    asked = ("-h", "-r", "-u", getpass.getuser(), "-n", job_name(sweep), "-o", "%i|%T")
    lines = [line.split("|") for line in output("squeue", *asked).splitlines()]
    return {name: "running" if state in RUNNING else "queued" for name, state in lines}


def output(*command: str) -> str:
    """Return what a command of SLURM prints.

    Raises:
        EngineAway: It cannot be started, or fails.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise EngineAway(f"there is no command '{command[0]}': is this a SLURM cluster?") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise EngineAway(f"{command[0]} failed: {lines[-1]}")
    return done.stdout


LAUNCHER = Slurm
