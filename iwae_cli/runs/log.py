"""What a run says while it trains: its log file, and what to do when it ends early."""

import contextlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from iwae_cli.core.atomic_write import naming
from iwae_cli.core.errors import IwaeError, NonFiniteError, Stopped
from iwae_cli.core.progress import clock
from iwae_cli.runs.folder import RunFolder

log = logging.getLogger("iwae")
LONG_SECONDS = 600.0


def say_if_long(seconds: float, optimizer: str) -> None:
    """Log how long a run will take if that is more than ten minutes, and what is faster.

    Args:
        seconds: That are left.
        optimizer: Name of the recipe.
    """
    if seconds < LONG_SECONDS:
        return
    faster = "" if optimizer == "kfac" else "; optimizer=kfac, the default, takes minutes"
    log.info("this run will take about %s on this machine%s", clock(seconds), faster)


@contextmanager
def hints(folder: RunFolder) -> Iterator[None]:
    """Add what to do next to the errors that end a training run."""
    try:
        yield
    except Stopped as error:
        error.args = (f"{error}; run the same command again to resume {folder.path}",)
        raise
    except NonFiniteError as error:
        kept = f"; {folder.checkpoint} is the last good one" if folder.checkpoint.exists() else ""
        raise NonFiniteError(f"{error}{kept}; a lower optimizer.learning_rate may help") from None


class LogFile(logging.FileHandler):
    """A log file that training does not depend on: where it cannot be written, it says so once."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's name)
        """Write no more."""
        if self in log.handlers:
            log.removeHandler(self)
            log.warning("warning: %s cannot be written any more", self.baseFilename)


@contextmanager
def log_file(folder: RunFolder) -> Iterator[None]:
    """Copy the log, progress included, to the run's train.log, and the error that ends it."""
    with naming(folder.log):
        handler = LogFile(folder.log)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    try:
        yield
    except IwaeError as error:
        severity = logging.WARNING if isinstance(error, Stopped) else logging.ERROR
        handler.handle(log.makeRecord("iwae", severity, "", 0, str(error), (), None))
        raise
    finally:
        log.setLevel(level)
        log.removeHandler(handler)
        with contextlib.suppress(OSError):  # what is left in a buffer of a full drive
            handler.close()
