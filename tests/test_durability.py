"""Writes that survive a power cut, and drives that are full, read-only or without locks."""

import errno
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import settings

from iwae_cli.core import atomic_write
from iwae_cli.core.atomic_write import write_atomically
from iwae_cli.core.errors import IwaeError, RunLockedError, UnsavedError, UsageError
from iwae_cli.evaluation.active_units import active_units
from iwae_cli.evaluation.encoding import encode
from iwae_cli.evaluation.evaluate import evaluate
from iwae_cli.reports.report import report_of, write
from iwae_cli.runs import lock
from iwae_cli.runs.folder import RunFolder
from iwae_cli.runs.log import log_file
from iwae_cli.training import run as training
from iwae_cli.training.resolve import prepare
from iwae_cli.training.trainer import Trainer

REFUSED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


@pytest.fixture(autouse=True)
def _say_again() -> None:
    """What is said once a process is said once a test."""
    atomic_write.warned.clear()
    lock.said.clear()


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of a whole run folder."""
    return Path(shutil.copytree(trained, tmp_path / "runs" / trained.name))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The calls by which files reach the disk, with the names that they are about, in order."""
    made: list[tuple[str, str]] = []
    fsync, replace = os.fsync, os.replace

    def name_of(descriptor: int) -> str:
        return Path(os.readlink(f"/proc/self/fd/{descriptor}")).name

    def recorded_fsync(descriptor: int) -> None:
        made.append(("fsync", name_of(descriptor)))
        fsync(descriptor)

    def recorded_replace(source: Any, target: Any, **options: Any) -> None:  # noqa: ANN401  (as os has it)
        made.append((f"replace {Path(source).name}", Path(target).name))
        replace(source, target, **options)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    monkeypatch.setattr(Path, "replace", lambda self, target: recorded_replace(self, target))
    return made


def test_a_file_is_flushed_before_it_takes_its_name_and_its_folder_after(
    tmp_path: Path, calls: list[tuple[str, str]]
) -> None:
    write_atomically(tmp_path / "file", b"content")
    (first, temporary), (second, target), third = calls
    assert first == "fsync"
    assert temporary.startswith(".file.")
    assert (second, target) == (f"replace {temporary}", "file")
    assert third == ("fsync", tmp_path.name)


def test_every_checkpoint_of_a_run_is_written_in_that_order(
    tmp_path: Path, calls: list[tuple[str, str]]
) -> None:
    folder = training.run(
        settings(tmp_path, checkpoint_seconds=0.0, then={"pictures": False})
    ).folder
    places = [n for n, (what, name) in enumerate(calls) if name == "checkpoint.pt"]
    assert len(places) > 5
    for place in places:
        assert calls[place - 1] == ("fsync", calls[place][0].removeprefix("replace "))
        assert calls[place + 1] == ("fsync", folder.name)


@pytest.mark.parametrize("moment", ["fsync of the file", "replace", "fsync of the folder"])
def test_a_power_cut_leaves_the_old_file_or_the_new_one(
    tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not flushed by then is lost; a name that was not flushed is the old or the new."""
    file = tmp_path / "file"
    file.write_bytes(b"old")

    class PowerCut(BaseException):
        pass

    def cut(*_: object) -> None:
        raise PowerCut

    if moment == "fsync of the file":
        monkeypatch.setattr(atomic_write, "flush", cut)
    elif moment == "replace":
        monkeypatch.setattr(Path, "replace", cut)
    else:
        monkeypatch.setattr(atomic_write, "flush_folder", cut)
    with pytest.raises(PowerCut):
        write_atomically(file, b"new")
    assert file.read_bytes() == (b"new" if moment == "fsync of the folder" else b"old")
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP])
def test_a_drive_that_cannot_flush_folders_or_set_modes_is_warned_about_once(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, "refused")

    monkeypatch.setattr(os, "fsync", refuse)
    monkeypatch.setattr(Path, "chmod", refuse)
    for content in (b"one", b"two"):
        write_atomically(tmp_path / "file", content)
    assert (tmp_path / "file").read_bytes() == b"two"
    assert caplog.text.count("cannot flush") == 2  # the file, the folder


def test_a_write_that_fails_names_the_file_and_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "table.csv"
    write_atomically(file, b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(file, b"new")
    assert caught.value.filename == str(file)
    assert (file.read_bytes(), os.listdir(tmp_path)) == (b"old", ["table.csv"])
    with pytest.raises(OSError, match="its folder .*gone is gone"):
        write_atomically(tmp_path / "gone" / "table.csv", b"new")


def test_a_report_on_a_full_drive_names_the_file_and_one_that_was_killed_leaves_nothing(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, output = report_of(run.parent), run.parent.parent / "report"
    output.mkdir()
    (output / ".runs.csv.abcd1234").write_bytes(b"half")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write(made, output)
    assert caught.value.filename == str(output / "runs.csv")
    assert os.listdir(output) == [".lock"]


def test_what_a_killed_write_left_is_removed_under_the_lock(run: Path) -> None:
    names = ("checkpoint.pt", "metrics.csv", "config.yaml", "environment.json")
    left = [run / f".{name}.abcd1234" for name in names]
    names = ("eval.csv", "per_image.npz", "pictures.npz", "gradients.csv")
    results = [run / f".{name}.abcd1234" for name in names]
    for file in [*left, *results]:
        file.write_bytes(b"half")
    with RunFolder(run).lock():
        assert not any(file.exists() for file in left)
    assert all(file.exists() for file in results)
    evaluate(run, k=[2], limit=3)
    assert not any(file.exists() for file in results)


@pytest.fixture(params=REFUSED, ids=[errno.errorcode[number] for number in REFUSED])
def without_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A drive without file locks."""

    def refuse(*_: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr("fcntl.flock", refuse)
    monkeypatch.setattr(lock, "flock", refuse)


@pytest.mark.usefixtures("without_locks")
def test_without_file_locks_one_process_at_a_time_holds_a_run_and_says_who(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = RunFolder(run)
    assert not folder.is_locked()
    with folder.lock():
        assert folder.is_locked()
        with (
            pytest.raises(RunLockedError, match=f"process {os.getpid()} on {socket.gethostname()}"),
            folder.lock(),
        ):
            pass
    assert not folder.is_locked()
    evaluate(run, k=[2], limit=3)
    assert caplog.text.count("has no file locks") == 1


@pytest.mark.usefixtures("without_locks")
def test_without_file_locks_what_a_killed_process_left_does_not_count(run: Path) -> None:
    folder, file = RunFolder(run), run / ".lock.held"
    ended = subprocess.run([sys.executable, "-c", ""], check=True)
    assert ended.returncode == 0
    number = subprocess.Popen([sys.executable, "-c", ""])
    number.wait()
    about = {"host": socket.gethostname(), "process": number.pid, "since": "then"}
    for content in (json.dumps(about), "", "[1]", '{"process": "a"}'):
        file.write_text(content)
        assert not folder.is_locked()
        with folder.lock():
            pass
        assert not file.exists()
    file.write_text(json.dumps({**about, "host": "elsewhere"}))
    assert folder.is_locked()
    said = r"on elsewhere since then\); .* if it ended, remove"
    with pytest.raises(RunLockedError, match=said), folder.lock():
        pass


HOLD = """
import sys, time
from pathlib import Path
from iwae_cli.runs.folder import RunFolder
with getattr(RunFolder(Path(sys.argv[1])), sys.argv[2])():
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def hold(
    run: Path, environment: dict[str, str]
) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start another process that holds a lock of the run until it gets a line."""
    started: list[subprocess.Popen[str]] = []

    def start(which: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(run), which],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.communicate("\n")


def test_a_held_run_says_by_which_process(
    run: Path, hold: Callable[[str], subprocess.Popen[str]]
) -> None:
    process = hold("lock")
    assert RunFolder(run).is_locked()
    with pytest.raises(RunLockedError) as caught, RunFolder(run).lock():
        pass
    assert f"(process {process.pid} on {socket.gethostname()} since 20" in str(caught.value)
    assert "is in use by another process" in str(caught.value)


@pytest.fixture
def locks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The locks that are taken and given back, and the files written, in order."""
    made: list[str] = []
    hold_it, write = lock.held, atomic_write.write_atomically

    @contextmanager
    def recorded(path: Path, *, wait: bool) -> Iterator[None]:
        name = f"{path.parent.name}/{path.name}"
        with hold_it(path, wait=wait):
            made.append(f"take {name}, {'waiting' if wait else 'at once'}")
            yield
            made.append(f"give {name}")

    def recorded_write(path: Path, content: bytes) -> None:
        made.append(f"write {path.name}")
        write(path, content)

    monkeypatch.setattr("iwae_cli.runs.folder.held", recorded)
    monkeypatch.setattr("iwae_cli.runs.folder.write_atomically", recorded_write)
    return made


def test_results_are_stored_under_a_lock_that_is_waited_for(run: Path, locks: list[str]) -> None:
    evaluate(run, k=[2], limit=3)
    active_units(run, samples=1)
    own = f"{run.name}/.results.lock"
    take, give = f"take {own}, waiting", f"give {own}"
    assert locks == [take, "write eval.csv", give, take, "write active_units.csv", give]


def test_a_run_is_held_at_once_or_not_at_all_and_its_parent_is_waited_for(
    tmp_path: Path, locks: list[str]
) -> None:
    child = settings(tmp_path, k=2, init_from={"k": 3}, then={"pictures": False})
    parent = child.parent()
    assert parent is not None
    training.run(child)
    names = [prepare(one).folder.path.name for one in (parent, child)]
    assert [line for line in locks if ".lock" in line and ".results" not in line] == [
        f"take {names[0]}/.lock, waiting",
        f"give {names[0]}/.lock",
        f"take {names[1]}/.lock, at once",
        f"give {names[1]}/.lock",
    ]


def refuse_files(monkeypatch: pytest.MonkeyPatch, number: int, run: Path) -> None:
    """Let no file be made in a run's folder."""
    make = tempfile.TemporaryFile

    def refused(*arguments: Any, **options: Any) -> object:  # noqa: ANN401  (those of tempfile)
        if options.get("dir") == run:
            raise OSError(number, os.strerror(number))
        return make(*arguments, **options)

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_in_a_folder_that_may_not_be_written_results_are_told_and_stored_ones_read(
    run: Path, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stored = evaluate(run, k=[2], limit=3)[0]
    before = {file: file.read_bytes() for file in run.iterdir() if file.is_file()}
    refuse_files(monkeypatch, number, run)
    rows = evaluate(run, k=[2, 4], limit=3)
    assert rows[0]["seconds"] == stored["seconds"]
    assert rows[1]["nll"] > 0
    assert "results are printed only; --output FOLDER keeps them" in caplog.text
    assert {file: file.read_bytes() for file in run.iterdir() if file.is_file()} == before
    with pytest.raises(UsageError, match="name a file with --output"):
        encode(run, k=2, limit=3)


def test_on_a_full_drive_nothing_is_computed(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_files(monkeypatch, errno.ENOSPC, run)
    monkeypatch.setattr("iwae_cli.evaluation.evaluate.log_likelihoods", None)
    with pytest.raises(OSError, match="No space left") as caught:
        evaluate(run, k=[2], limit=3)
    assert caught.value.filename == str(run / "eval.csv")


def test_a_result_that_cannot_be_stored_in_the_end_is_told_in_the_error(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = evaluate(run, k=[4], limit=3)[0]
    (run / "eval.csv").unlink()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UnsavedError) as caught:
        evaluate(run, k=[4], limit=3)
    assert "per_image.npz: No space left on device" in str(caught.value)
    assert f"NLL {expected['nll']:.4f} nats by L_k with k=4 on 3 images of test" in str(
        caught.value
    )


def test_outputs_that_are_deleted_in_mid_run_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trainer.step

    def delete(trainer: Trainer) -> None:
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)
        step(trainer)

    monkeypatch.setattr(Trainer, "step", delete)
    with pytest.raises((OSError, IwaeError), match="its folder .* is gone"):
        training.run(settings(tmp_path))


def test_a_log_that_cannot_be_written_is_said_once_and_ends_nothing(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, logger = RunFolder(run), logging.getLogger("iwae")
    folder.log = Path("/dev/full")
    with log_file(folder):
        for _ in range(3):
            logger.info("a line")
    assert caplog.text.count("/dev/full cannot be written any more") == 1
