"""The state of a run, told from the files in its folder."""

from typing import Literal

from iwae_cli.runs.folder import RunFolder

State = Literal["finished", "interrupted", "failed", "running"]


def state_of(folder: RunFolder, *, passes: int, total: int | None) -> State:
    """Return the state of a run of which `passes` of `total` passes are in metrics.csv.

    A run is `running` while a process holds its lock, `finished` once all its passes are done,
    `failed` where an error is the last line of its log, and else `interrupted`.
    """
    if folder.is_locked():
        return "running"
    if total is not None and passes >= total:
        return "finished"
    return "failed" if last_error(folder) else "interrupted"


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
