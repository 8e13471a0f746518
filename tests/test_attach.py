"""What becomes of a sweep that an engine carries out: an engine of the tests in this process."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import pytest

from iwae_cli.cli import launch
from iwae_cli.cli.launchers import attach
from iwae_cli.cli.launchers.attach import Watch, state_of, submit_missing
from iwae_cli.cli.launchers.base import Active, Engine
from iwae_cli.cli.launchers.jobs import jobs_of
from iwae_cli.cli.launchers.outcome import outcome
from iwae_cli.core.signals import StopSignals
from iwae_cli.runs.sweep_folder import Job, SweepFolder

LOST = 1


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@dataclass(frozen=True)
class AtOnce(Engine):
    """Finishes every job at once, but one, which it loses."""

    name: str = "at_once"
    took: list[int] = field(default_factory=list)
    queue: dict[int, Active] = field(default_factory=dict)

    def submit(
        self, sweep: SweepFolder, jobs: Sequence[Job], queued: Mapping[int, str]
    ) -> Mapping[int, str]:
        for job in jobs:
            self.took.append(job.number)
            folder = sweep.path / f"run{job.number}"
            folder.mkdir(exist_ok=True)
            (folder / "checkpoint.pt").touch()
            state = "running" if job.number == LOST else "finished"
            result = {"folder": str(folder), "already_finished": False}
            sweep.write_record(
                job.number, {"state": state, "folder": str(folder), "result": result}
            )
        return {job.number: f"9_{job.number}" for job in jobs}

    def active(self, sweep: SweepFolder) -> Mapping[int, Active]:
        return self.queue

    def cancel(self, sweep: SweepFolder) -> None:
        self.queue.clear()

    def end_of(self, sweep: SweepFolder, number: int, identifier: str) -> str:
        return "OUT_OF_MEMORY"


@pytest.fixture
def sweep(tmp_path: Path) -> SweepFolder:
    words = ["dataset=digits", "optimizer=constant", "optimizer.passes=2", "k=1,2,3"]
    folder = SweepFolder(tmp_path / "sweep")
    folder.write(jobs_of(launch.plan(words, multirun=True).points), {"name": "at_once"})
    return folder


def test_only_what_is_missing_is_submitted_and_a_lost_job_is_one_line(
    sweep: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attach, "SHORTEST", 0.0)
    monkeypatch.setattr(attach, "LATE", 0.0)
    engine, jobs = AtOnce(), sweep.jobs()
    for took in ([0, 1, 2], [0, 1, 2, LOST]):  # the second time the lost one alone
        submit_missing(engine, sweep, jobs)
        assert engine.took == took
        watch = Watch(engine, sweep, jobs)
        with StopSignals() as signals:
            watch.run(signals)
        watch.record_lost()
        done = outcome(sweep, jobs, None)
        assert len(done.results) == 2
        (line,) = done.failures
        log = sweep.log(LOST)
        assert line.endswith(f"k=2] lost: job 9_1 is OUT_OF_MEMORY; log {log}")


def test_what_is_queued_is_not_submitted_again(sweep: SweepFolder) -> None:
    engine, jobs = AtOnce(queue={0: "queued", 2: "running"}), sweep.jobs()
    sweep.add_submitted({0: "9_0", 2: "9_2"})
    submit_missing(engine, sweep, jobs)
    assert engine.took == [1]
    watch = Watch(engine, sweep, jobs)
    watch.look({0: "queued", 1: "running", 2: "running"})
    assert watch.describe() == "0 of 3 runs finished, 2 running, 1 queued"


@pytest.mark.parametrize(
    ("record", "active", "state"),
    [
        (None, None, "missing"),
        (None, "queued", "queued"),
        ("running", "running", "running"),
        ("stopped", "queued", "preempted"),
        ("preempted", "queued", "preempted"),
        ("preempted", "running", "running"),
        ("finished", "running", "finished"),
        ("failed", None, "failed"),
        ("running", None, "running"),
    ],
)
def test_the_state_of_a_job_is_that_of_its_record_and_of_the_queue(
    record: str | None, active: Active | None, state: str
) -> None:
    assert state_of({"state": record} if record else None, active) == state


def test_ctrl_c_asks_once_and_cancels_where_nobody_can_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def answer(value: bool | None) -> None:
        def confirm(question: str, *, default: bool, err: bool) -> bool:
            assert "2 queued" in question
            assert default
            if value is None:
                raise click.Abort
            return value

        monkeypatch.setattr(click, "confirm", confirm)

    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert launch.cancel_wanted("2 queued"), "nobody can answer"
    monkeypatch.setattr("sys.stdin", Terminal())
    for value, cancels in ((True, True), (False, False), (None, False)):
        answer(value)
        assert launch.cancel_wanted("2 queued") is cancels


def test_jobs_of_an_engine_that_were_not_written_down_are_not_submitted_again(
    sweep: SweepFolder,
) -> None:
    """The command was killed after the engine had them and before their ids were saved."""
    engine = AtOnce(queue={0: "running"})
    assert submit_missing(engine, sweep, sweep.jobs()) == 2
    assert engine.took == [1, 2]
