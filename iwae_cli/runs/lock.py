"""Locks of a folder between processes, also on network drives that have no locks of their own."""

import contextlib
import errno
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from iwae_cli.core.errors import RunLockedError

try:
    from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, flock
except ImportError:  # Windows, where filelock has other means
    flock = None  # type: ignore[assignment]

log = logging.getLogger("iwae")

# How a drive answers that has no locks
UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
# How one answers whose lock is held
BUSY = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES}
POLL_SECONDS = 0.2
# Somebody may just be looking whether a lock is held
PATIENCE_SECONDS = 0.3
said: set[Path] = set()


@contextmanager
def held(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold a lock while the block runs; the file says which process holds it.

    Where the drive has no locks, a second file beside it stands for the lock; one that a process
    of this machine left behind when it was killed does not count.

    Args:
        path: The lock's file.
        wait: Wait until no other process holds it.

    Raises:
        RunLockedError: Another process holds it.
        OSError: The file cannot be made.
    """
    if not has_locks(path):
        with held_by_file(path, wait=wait):
            yield
        return
    try:
        with FileLock(path, timeout=-1 if wait else PATIENCE_SECONDS):
            with contextlib.suppress(OSError):  # Windows lets nobody write into a held file
                path.write_text(json.dumps(own()))
            yield
    except Timeout:
        raise in_use(path, holder(path)) from None


def is_held(path: Path) -> bool:
    """Whether a process holds a lock; nothing is created, not even where there is no lock."""
    if is_current(holder(stand_in(path))):
        return True
    if not path.exists():
        return False
    try:
        if flock is None:
            with FileLock(path, timeout=0, is_singleton=False):
                return False
        return tried(path) in BUSY
    except Timeout:
        return True
    except OSError:  # a read-only copy of a run: nobody trains there
        return False


def has_locks(path: Path) -> bool:
    """Return whether the drive of a file has locks; the file is made where it is missing."""
    return flock is None or tried(path) not in UNSUPPORTED


def tried(path: Path) -> int | None:
    """Return the number of the error by which a lock is refused; None if it could be taken."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        flock(descriptor, LOCK_EX | LOCK_NB)
        flock(descriptor, LOCK_UN)
    except OSError as error:
        return error.errno
    finally:
        os.close(descriptor)
    return None


@contextmanager
def held_by_file(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold a lock by a file that this process alone could make."""
    file = stand_in(path)
    if path.parent not in said:
        said.add(path.parent)
        log.warning(
            "warning: the drive of %s has no file locks: train a run on one machine at a time",
            path.parent,
        )
    while True:
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            break
        except FileExistsError:
            there = holder(file)
            if not is_current(there):
                time.sleep(PATIENCE_SECONDS)  # its maker may be about to write its name
                if not is_current(holder(file)):
                    file.unlink(missing_ok=True)
            elif wait:
                time.sleep(POLL_SECONDS)
            else:
                raise in_use(path, there, remove=file) from None
    try:
        with os.fdopen(descriptor, "w") as made:
            made.write(json.dumps(own()))
        yield
    finally:
        file.unlink(missing_ok=True)


def stand_in(path: Path) -> Path:
    """Return the file whose existence is the lock where there are no others."""
    return path.with_name(f"{path.name}.held")


def own() -> dict[str, Any]:
    """Return what tells this process: host, process id and when it took the lock."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"host": socket.gethostname(), "process": os.getpid(), "since": now}


def holder(path: Path) -> dict[str, Any]:
    """Return what a lock says of its holder, empty where it says nothing."""
    try:
        content = json.loads(path.read_bytes()[:1000])
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def is_current(there: dict[str, Any]) -> bool:
    """Whether the process that a lock names may still run; of another machine nobody can tell."""
    number = there.get("process")
    if not isinstance(number, int) or number < 1:
        return False
    if there.get("host") != socket.gethostname() or os.name == "nt":
        return True
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def in_use(path: Path, there: dict[str, Any], *, remove: Path | None = None) -> RunLockedError:
    """Return the error for a folder that another process holds."""
    told = "process {process} on {host} since {since}"
    names = {"process", "host", "since"}
    who = f" ({told.format(**there)})" if names <= there.keys() else ""
    hint = f"; if it ended, remove {remove}" if remove else ""
    return RunLockedError(
        f"{path.parent} is in use by another process{who}; wait for it or end it{hint}"
    )
