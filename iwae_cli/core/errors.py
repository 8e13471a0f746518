"""Every mistake a user can make, with its exit code; the message for an unknown name."""

import difflib
from collections.abc import Iterable


class IwaeError(Exception):
    """A fault that is reported as one line, without a traceback, and ends the command.

    The message says what was received, what is allowed and what to do next.

    Args:
        message: One line.
        advice: More short lines, for what does not fit into one.
    """

    exit_code = 1

    def __init__(self, message: str = "", *advice: str) -> None:
        super().__init__(message)
        self.advice = advice


class ConfigError(IwaeError):
    """A key, value or combination of keys that cannot be run; nothing has been started."""

    exit_code = 2


class UsageError(IwaeError):
    """A command line that cannot be carried out, such as no run to evaluate."""

    exit_code = 2


class DataError(IwaeError):
    """A data set that is missing, damaged or outside the allowed range."""


class CheckpointError(IwaeError):
    """A checkpoint that is missing, damaged, foreign, or could not be written."""


class ResultsError(IwaeError):
    """A table or array of results in a run folder that is damaged."""


class UnsavedError(IwaeError):
    """Results that were computed and could not be stored; the message holds them."""


class RunLockedError(IwaeError):
    """A run folder that another process is using."""


class TrackerError(IwaeError):
    """A tracker that cannot take what it is told."""


class NonFiniteError(IwaeError):
    """A bound or parameter that became NaN or infinite; the last good checkpoint is kept."""


class OutOfMemory(IwaeError):  # noqa: N818  (the name that is usual)
    """Work that needs more memory than there is."""


class SweepError(IwaeError):
    """One or more runs of a sweep failed; the others were carried out."""


class ReportError(IwaeError):
    """Files that a report could not read; what it could read is written."""


class Stopped(IwaeError):  # noqa: N818  (not a fault: the user's own request)
    """Work ended on a signal of `core.signals`; training saved its state first."""

    def __init__(self, message: str, *, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """Return the message for an unknown name: the nearest known one, and all that exist."""
    known = sorted(known)
    lower = {one.lower(): one for one in known}
    nearest = difflib.get_close_matches(str(name).lower(), lower, n=1, cutoff=0.5)
    hint = f"did you mean '{lower[nearest[0]]}'? " if nearest else ""
    return f"unknown {kind} '{name}': {hint}known: {', '.join(known)}"
