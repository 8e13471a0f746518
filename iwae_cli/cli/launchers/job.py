"""One job of a sweep, in whatever process an engine starts: a plain config in, a record out."""

import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from iwae_cli.core.config import parse
from iwae_cli.core.errors import IwaeError, Stopped
from iwae_cli.core.signals import StopSignals
from iwae_cli.runs.sweep_folder import Job, Record, SweepFolder

log = logging.getLogger("iwae")


def carry_out(path: str, job: Job, *, identifier: str = "", folder: str = "") -> Record:
    """Train, or resume, the run of a job; return its record, which is in the sweep's folder too.

    Args:
        path: The sweep's folder.
        job: What to carry out.
        identifier: The engine's name of the job.
        folder: Where the command was typed, from which relative paths count.
    """
    if folder:
        os.chdir(folder)
    sweep = SweepFolder(Path(path))
    record: Record = {"id": identifier, "host": socket.gethostname(), "pid": os.getpid()}
    record |= {"state": "running", "since": time.time()}
    with log_to(sweep.log(job.number)) as file:
        try:
            with StopSignals(interrupt=True):
                record |= trained(sweep, job, record)
        except Stopped as error:
            record |= {"state": "stopped", "message": str(error), "signal": error.exit_code - 128}
            file.handle(log.makeRecord("iwae", logging.WARNING, "", 0, str(error), (), None))
        except IwaeError as error:
            record |= {"state": "failed", "message": " ".join(str(error).split())}
            log.error("failed: %s", record["message"])
        except Exception as error:  # a bug of one run is no reason to end the others
            log.exception("failed: %s", job.name)
            named = f"{type(error).__name__} {error}".strip()
            record |= {"state": "failed", "message": f"{named}; traceback in {file.baseFilename}"}
    record["until"] = time.time()
    sweep.write_record(job.number, record)
    return record


def trained(sweep: SweepFolder, job: Job, record: Record) -> Record:
    """Train the run of a job; return what its record says then."""
    from iwae_cli.training import run as training
    from iwae_cli.training.resolve import prepare

    sweep.write_record(job.number, record)
    settings = parse(job.values)
    folder = prepare(settings).folder.path.absolute()
    record["folder"] = str(folder)
    sweep.write_record(job.number, record)
    result = training.run(settings, wait=True)
    return {"state": "finished", "result": result.as_dict()}


@contextmanager
def log_to(path: Path) -> Iterator[logging.FileHandler]:
    """Copy what the package logs to a job's log."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.setLevel(logging.INFO)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield handler
    finally:
        log.removeHandler(handler)
        handler.close()
