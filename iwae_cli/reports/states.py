"""The state of a run, told from the files in its folder."""

from typing import Literal

from filelock import FileLock, Timeout

from iwae_cli.run_folder import RunFolder

State = Literal["finished", "interrupted", "failed", "running"]


def state_of(folder: RunFolder, *, passes: int, total: int | None) -> State:
    """Return the state of a run of which `passes` of `total` passes are in metrics.csv.

    A run is `running` while a process holds its lock, `finished` once all its passes are done,
    `failed` where an error is the last line of its log, and else `interrupted`.
    """
    if is_locked(folder):
        return "running"
    if total is not None and passes >= total:
        return "finished"
    return "failed" if last_error(folder) else "interrupted"


def is_locked(folder: RunFolder) -> bool:
    """Whether a process holds the run; nothing is created, not even where there is no lock."""
    path = folder.path / ".lock"
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0, is_singleton=False):
            return False
    except Timeout:
        return True
    except OSError:  # a read-only copy of a run: nobody trains there
        return False


def last_error(folder: RunFolder) -> str | None:
    """Return the error that ended the run, if its log ends with one."""
    try:
        lines = folder.log.read_text(errors="replace").splitlines()
    except OSError:
        return None
    date_time_level_message = lines[-1].split(maxsplit=3) if lines else []
    if len(date_time_level_message) == 4 and date_time_level_message[2] == "ERROR":
        return date_time_level_message[3]
    return None
