"""`launcher=ray`: the runs of a sweep as tasks of a running Ray cluster."""

import os
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from iwae_cli.cli.launchers.base import Active, Engine, EngineAway
from iwae_cli.cli.launchers.job import carry_out
from iwae_cli.core.config import require
from iwae_cli.runs.sweep_folder import Job, SweepFolder

NAMESPACE = "iwae"
# What a task needs of the environment in which the command was typed
PASSED_ON = ("PYTHONPATH", "IWAE_DATA_DIR", "OMP_NUM_THREADS", "MLFLOW_TRACKING_URI")
SAVING_SECONDS, ANSWER_SECONDS = 120.0, 60.0


@dataclass(frozen=True)
class Ray(Engine):
    """Tasks of Ray; see conf/launcher/ray.yaml for the options.

    The tasks belong to an actor of the cluster, one for each sweep, so that they go on without the
    process that submitted them.
    """

    name: str = "ray"
    address: str = "auto"
    cpus_per_run: int = 1
    mem_gb: float | None = None
    runs_per_gpu: int | None = None
    retries: int = 3
    package: ClassVar[str | None] = "ray"

    def __post_init__(self) -> None:
        require(self.cpus_per_run >= 1, f"cpus_per_run must be at least 1, got {self.cpus_per_run}")
        per_gpu = self.runs_per_gpu
        require(per_gpu is None or per_gpu >= 1, f"runs_per_gpu must be at least 1, got {per_gpu}")
        require(self.retries >= 0, f"retries must be 0 or more, got {self.retries}")

    def check(self) -> None:
        """Raise an IwaeError unless Ray is installed and its cluster answers."""
        super().check()
        self._connect()

    def _connect(self) -> None:
        import ray

        try:
            if ray.is_initialized():
                there = ray.get_runtime_context().gcs_address
                try:
                    check_listening(there)
                except OSError:
                    ray.shutdown()  # or Ray ends this process a minute later
                    raise
                return
            check_listening(self.address)
            ray.init(self.address, namespace=NAMESPACE, log_to_driver=False, logging_level="ERROR")
        except (OSError, RuntimeError, ValueError) as error:
            raise EngineAway(
                f"no Ray cluster answers at launcher.address={self.address} "
                f"({str(error).splitlines()[0]}); start one with 'ray start --head'"
            ) from None

    def submit(
        self, sweep: SweepFolder, jobs: Sequence[Job], queued: Mapping[int, str]
    ) -> Mapping[int, str]:
        """Hand jobs to the sweep's actor; each waits for the tasks of those that it needs."""
        import ray

        self._connect()
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        options: dict[str, Any] = {
            "num_cpus": self.cpus_per_run,
            "num_gpus": 1 / self.runs_per_gpu if self.runs_per_gpu else 0,
            "max_retries": self.retries,
            "retry_exceptions": [Preempted],
            "runtime_env": {"env_vars": {"OMP_NUM_THREADS": str(self.cpus_per_run), **environment}},
        }
        if self.mem_gb:
            options["memory"] = int(self.mem_gb * 2**30)
        actor = (
            ray.remote(Coordinator)
            .options(
                name=sweep.name,
                namespace=NAMESPACE,
                lifetime="detached",
                get_if_exists=True,
                num_cpus=0,
                runtime_env={"env_vars": environment},
            )
            .remote()
        )
        call = actor.submit.remote(str(sweep.path), list(jobs), str(Path.cwd()), options)
        return dict(answer(call))

    def _actor(self, sweep: SweepFolder) -> Any:  # noqa: ANN401  (a handle of Ray's, or None)
        import ray

        self._connect()
        try:
            return ray.get_actor(sweep.name, namespace=NAMESPACE)
        except ValueError:  # there is none
            return None

    def active(self, sweep: SweepFolder) -> Mapping[int, Active]:
        """Return the tasks that have not ended; which of them run is in their records."""
        if (actor := self._actor(sweep)) is None:
            return {}
        numbers = answer(actor.active.remote())
        records = {number: sweep.record(number) or {} for number in numbers}
        return {
            number: "running" if record.get("state") == "running" else "queued"
            for number, record in records.items()
        }

    def cancel(self, sweep: SweepFolder) -> None:
        """Cancel all tasks, wait until running ones have saved, and end the actor."""
        import ray

        if (actor := self._actor(sweep)) is not None:
            answer(actor.cancel.remote(), seconds=SAVING_SECONDS + ANSWER_SECONDS)
            ray.kill(actor)

    def close(self, sweep: SweepFolder) -> None:
        """End the sweep's actor."""
        import ray

        if (actor := self._actor(sweep)) is not None:
            ray.kill(actor)

    def end_of(self, sweep: SweepFolder, number: int, identifier: str) -> str:
        """Return the error that ended a task."""
        actor = self._actor(sweep)
        return str(answer(actor.end_of.remote(number))) if actor else "gone with its cluster"


def check_listening(address: str) -> None:
    """Raise OSError where nobody listens at an address; Ray itself tries for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():  # else a name, such as `auto`
        socket.create_connection((host.rpartition("/")[2], int(port)), timeout=10).close()


def answer(call: Any, *, seconds: float = ANSWER_SECONDS) -> Any:  # noqa: ANN401  (any result)
    """Return the result of a call of an actor's.

    Raises:
        EngineAway: The actor or its cluster does not answer, or cannot do what it is asked for.
    """
    import ray

    try:
        return ray.get(call, timeout=seconds)
    except ray.exceptions.RayError as error:
        said = (str(error).strip().splitlines() or ["no reason given"])[-1]
        raise EngineAway(f"Ray does not answer: {type(error).__name__}: {said}") from None


class Preempted(Exception):  # noqa: N818  (not an error: the task is to be tried again)
    """A task that a signal stopped, after it had saved."""


class Unfinished(Exception):  # noqa: N818  (its record says what it is)
    """A task whose run has not finished; what needs the run cannot start."""


class Coordinator:
    """Owns the tasks of a sweep, in a process of the cluster."""

    def __init__(self) -> None:
        self.tasks: dict[int, Any] = {}

    def submit(
        self, path: str, jobs: Sequence[Job], folder: str, options: Mapping[str, Any]
    ) -> dict[int, str]:
        """Start tasks; return their ids."""
        import ray

        task = ray.remote(ray_task).options(**options)
        for job in jobs:
            needed = [self.tasks[number] for number in job.needs if number in self.tasks]
            self.tasks[job.number] = task.remote(path, job, folder, *needed)
        return {job.number: self.tasks[job.number].task_id().hex() for job in jobs}

    def active(self) -> list[int]:
        """Return the numbers of the jobs whose tasks have not ended."""
        import ray

        if not self.tasks:
            return []
        owned = list(self.tasks.values())
        _, left = ray.wait(owned, num_returns=len(owned), timeout=0, fetch_local=False)
        return [number for number, task in self.tasks.items() if task in left]

    def cancel(self) -> None:
        """Cancel what has not ended, and wait until it has."""
        import ray

        left = [self.tasks[number] for number in self.active()]
        for task in left:
            ray.cancel(task, force=False)
        if left:
            ray.wait(left, num_returns=len(left), timeout=SAVING_SECONDS, fetch_local=False)

    def end_of(self, number: int) -> str:
        """Return the error that ended a task, in one line."""
        import ray

        if number not in self.tasks:
            return "unknown to Ray"
        try:
            ray.get(self.tasks[number], timeout=0)
        except Exception as error:  # whatever it was is what is asked for
            return type(error).__name__
        return "ended"


def ray_task(path: str, job: Job, folder: str, *_: object) -> str:
    """Carry out one job; Ray waits for the arguments, results of the tasks that it needs."""
    import ray

    identifier = ray.get_runtime_context().get_task_id() or ""
    record = carry_out(path, job, identifier=identifier, folder=folder)
    if record["state"] == "stopped" and record["signal"] != signal.SIGINT:  # which is Ray's cancel
        SweepFolder(Path(path)).write_record(job.number, record | {"state": "preempted"})
        raise Preempted(job.name)
    if record["state"] != "finished":
        raise Unfinished(job.name)
    return job.name


LAUNCHER = Ray
