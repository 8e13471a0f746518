"""The folder of a sweep: its jobs, what was submitted, the state and log of each job."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from iwae_cli.core.atomic_write import read_json, remove_leftovers, write_json
from iwae_cli.core.errors import RunLockedError, UsageError

Record = dict[str, Any]
FINAL = ("finished", "failed")


@dataclass(frozen=True)
class Job:
    """One run as a plain config, which any engine can carry out.

    Attributes:
        number: Its place in the sweep, from 0.
        name: Its overrides, as they were typed.
        values: The plain config.
        needs: Numbers of the jobs that must have finished before it starts.
        asked: Whether the command line asks for it; else it is a parent of one that is asked for.
    """

    number: int
    name: str
    values: dict[str, Any]
    needs: tuple[int, ...] = ()
    asked: bool = True


class SweepFolder:
    """Paths and files of one sweep; `path` need not exist yet.

    A job's record says how far it is: `state` is running, finished, failed, stopped (by a signal)
    or preempted (stopped, and to be started again); `id` is the engine's name for the job,
    `folder` its run folder, `result` or `message` what came of it.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        self._jobs, self._submitted = path / "jobs.json", path / "submitted.json"
        self._launcher = path / "launcher.json"

    def write(self, jobs: Sequence[Job], launcher: Mapping[str, Any]) -> None:
        """Write what the sweep consists of and where it is carried out."""
        (self.path / "jobs").mkdir(parents=True, exist_ok=True)
        remove_leftovers(self._jobs, self._launcher, self._submitted)
        write_json(self._jobs, [asdict(job) for job in jobs])
        write_json(self._launcher, launcher)

    @property
    def exists(self) -> bool:
        """Whether the folder holds a sweep."""
        return self._launcher.exists()

    def launcher(self) -> dict[str, Any]:
        """Return the launcher's options."""
        return dict(read_json(self._launcher))

    def jobs(self) -> list[Job]:
        """Return the jobs by number."""
        return [
            Job(**{**values, "needs": tuple(values["needs"])}) for values in read_json(self._jobs)
        ]

    def submitted(self) -> dict[int, str]:
        """Return the engine's id of each job that was submitted."""
        if not self._submitted.exists():
            return {}
        return {int(number): name for number, name in read_json(self._submitted).items()}

    def add_submitted(self, ids: Mapping[int, str]) -> None:
        """Note the engine's ids of jobs."""
        write_json(self._submitted, {**self.submitted(), **ids})

    def log(self, number: int) -> Path:
        """Return the path of a job's log."""
        return self.path / "jobs" / f"{number}.log"

    def record(self, number: int) -> Record | None:
        """Return how far a job is, None if it has never started."""
        try:
            return dict(read_json(self.path / "jobs" / f"{number}.json"))
        except FileNotFoundError:
            return None

    def write_record(self, number: int, record: Mapping[str, Any]) -> None:
        """Write how far a job is."""
        write_json(self.path / "jobs" / f"{number}.json", record)

    def forget(self, number: int) -> None:
        """Remove a job's record, before the job is carried out again."""
        record = self.path / "jobs" / f"{number}.json"
        record.unlink(missing_ok=True)
        remove_leftovers(record)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the sweep for submission.

        Raises:
            RunLockedError: Another command is attached to it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.path / ".lock", timeout=0):
                yield
        except Timeout:
            raise RunLockedError(
                f"another command is attached to the sweep {self.path}; 'iwae runs' shows its jobs"
            ) from None


def sweep_name(jobs: Sequence[Job]) -> str:
    """Return the name of a sweep: the same jobs have the same name, whatever tracks them."""
    text = json.dumps([{**job.values, "log": {}} for job in jobs], sort_keys=True)
    asked = sum(job.asked for job in jobs)
    sets = sorted({str(job.values["dataset"]["name"]) for job in jobs})
    return f"{'_'.join(sets)}-{asked}runs-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def sweeps_below(outputs: Path) -> list[SweepFolder]:
    """Return the sweeps below a folder of outputs, by name."""
    found = sorted(outputs.rglob("sweeps/*/launcher.json"))
    return [SweepFolder(path.parent) for path in found]


def find_sweep(given: str, outputs: Path) -> SweepFolder:
    """Return the sweep that a path, or a name below `outputs`, stands for.

    Raises:
        UsageError: There is none.
    """
    if (named := SweepFolder(Path(given))).exists:
        return named
    known = {sweep.name: sweep for sweep in sweeps_below(outputs)}
    if given not in known:
        names = ", ".join(known) or "there are none"
        raise UsageError(f"there is no sweep '{given}' below {outputs}: {names}")
    return known[given]
