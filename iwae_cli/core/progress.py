"""Progress of long work: a bar on a terminal, plain log lines elsewhere."""

import contextlib
import logging
import sys
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

log = logging.getLogger("iwae")
SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_DRAWS = 0.1
# The first steps of work are slow; what those of the next seconds take tells how long it will take.
SLOW_SECONDS, MEASURED_SECONDS = 3.0, 4.0


def clock(seconds: float) -> str:
    """Return a duration as `1:02:03` or `2:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def counted(number: int, what: str) -> str:
    """Return a number of things in words: `1 run`, `2 runs`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


class Counter:
    """Counts work whose size is not known, with a log line every ten seconds.

    Args:
        what: What is counted, such as `runs composed`.
    """

    def __init__(self, what: str) -> None:
        self.what, self.number, self.last_line = what, 0, time.monotonic()

    def count(self) -> None:
        """Count one more."""
        self.number += 1
        if time.monotonic() - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = time.monotonic()
            log.info("%s %s", f"{self.number:,}", self.what)


class Forecast:
    """Tells once, after some seconds of work, how long the rest will take.

    Args:
        total: Size of the work in any unit of equal time.
    """

    def __init__(self, total: float) -> None:
        self.total, self.start = total, time.monotonic()
        self.measured_from: tuple[float, float] | None = None
        self.told = False

    def seconds_left(self, done: Callable[[], float]) -> float | None:
        """Return the seconds that are left, the first time that they are known; else None.

        Args:
            done: Returns how much of the work is done.
        """
        now = time.monotonic()
        if self.told or now - self.start < SLOW_SECONDS:
            return None
        if self.measured_from is None:
            self.measured_from = now, done()
            return None
        since, before = self.measured_from
        if now - since < MEASURED_SECONDS or done() == before:
            return None
        self.told = True
        return (self.total - done()) * (now - since) / (done() - before)


class ProgressReport:
    """Shows how far a piece of work is, with the time left, on stderr.

    Args:
        what: The work, such as `train`.
        total: Its size in any unit; the time left assumes that units take equally long.
        done: The part that was done before, by an interrupted run, say.
    """

    def __init__(self, what: str, *, total: float, done: float = 0.0) -> None:
        self.what, self.total, self.initial = what, total, done
        self.start = self.last_line = time.monotonic()
        self.last_draw = 0.0
        self.bar: Progress | None = None
        if sys.stderr.isatty():
            self.bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24, complete_style="cyan", finished_style="cyan"),
                TextColumn("{task.fields[text]}"),
                console=Console(stderr=True),
                auto_refresh=False,
                transient=True,
            )
            self.task = self.bar.add_task(what, total=total, text="")

    def __enter__(self) -> "ProgressReport":
        if self.bar:
            self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar:
            with contextlib.suppress(OSError):  # the terminal was closed
                self.bar.stop()

    def due(self) -> bool:
        """Return whether an update now would be shown: build its text only then."""
        pause = SECONDS_BETWEEN_DRAWS if self.bar else SECONDS_BETWEEN_LINES
        return time.monotonic() - (self.last_draw if self.bar else self.last_line) >= pause

    def update(self, done: float, text: str) -> None:
        """Show that `done` of the total is done, with `text` beside it."""
        now = time.monotonic()
        rate = (done - self.initial) / max(now - self.start, 1e-9)
        rest = self.total - done
        left = f"{clock(rest / rate)} left" if rate > 0 and rest >= 0 else ""
        line = f"{text}  {left}"
        if self.bar:
            self.last_draw = now
            try:
                self.bar.update(self.task, completed=done, text=line, refresh=True)
            except OSError:  # the terminal was closed, and SIGHUP is on its way: work goes on
                self.bar = None
        if now - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = now
            # beside a bar the line goes to the run's log file alone
            log.log(logging.DEBUG if self.bar else logging.INFO, "%s  %s", self.what, line)
