"""A sweep that an engine carries out: submit what is missing, watch it, leave it or cancel it."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from iwae_cli.cli.launchers.base import Active, Engine, EngineAway
from iwae_cli.cli.launchers.jobs import WITHOUT_PARENT, generations, work_of
from iwae_cli.core.progress import ProgressReport
from iwae_cli.core.signals import StopSignals
from iwae_cli.runs.sweep_folder import FINAL, Job, Record, SweepFolder

log = logging.getLogger("iwae")
# Seconds between two looks at the queue: few at first, more as a sweep grows old
SHORTEST, LONGEST, GROWTH = 1.0, 15.0, 0.02
# Seconds in which neither the queue has a job nor a record its end, before it counts as lost: a
# shared disk may show a record late
LATE = 10.0


def submit_missing(launcher: Engine, sweep: SweepFolder, jobs: Sequence[Job]) -> int:
    """Submit every job that has neither finished nor is with the engine; return how many."""
    launcher.clear_strays(sweep)
    active, ids = launcher.active(sweep), sweep.submitted()
    missing = [job for job in jobs if job.number not in active and not finished(sweep, job)]
    for job in missing:
        sweep.forget(job.number)
    queued = {number: ids[number] for number in active if number in ids}
    for group in generations(missing):
        new = launcher.submit(sweep, group, queued)
        sweep.add_submitted(new)
        queued |= new
    log.info(
        "%d runs submitted, %d were queued or running, %d finished",
        len(missing),
        len(active),
        len(jobs) - len(missing) - len(active),
    )
    return len(missing)


def finished(sweep: SweepFolder, job: Job) -> bool:
    """Return whether a job has finished, and its run is still there."""
    record = sweep.record(job.number)
    there = record is not None and record["state"] == "finished"
    return there and (Path((record or {})["folder"]) / "checkpoint.pt").exists()


def state_of(record: Record | None, active: Active | None) -> str:
    """Return the state of a job from its record and from what the engine says of it."""
    state = str(record["state"]) if record else "queued"
    if active is None or state in FINAL:
        return state if record else "missing"
    if active == "running":
        return "running"
    return "preempted" if record else "queued"


class Watch:
    """Looks at the jobs of a sweep until none is left with the engine.

    Args:
        launcher: Who carries out the sweep.
        sweep: Its folder.
        jobs: Its jobs.
    """

    def __init__(self, launcher: Engine, sweep: SweepFolder, jobs: Sequence[Job]) -> None:
        self.launcher, self.sweep, self.jobs = launcher, sweep, jobs
        self.work = {job.number: work_of(job) for job in jobs}
        self.states: dict[int, str] = {}
        self.done: dict[int, float] = {}

    def look(self, active: Mapping[int, Active]) -> None:
        """Take in the state of all jobs, and tell what has changed for the worse."""
        for job in self.jobs:
            before = self.states.get(job.number)
            if before in FINAL:
                continue
            record = self.sweep.record(job.number)
            state = state_of(record, active.get(job.number))
            self.states[job.number] = state
            whole = self.work[job.number]
            self.done[job.number] = whole if state in FINAL else work_done(record, job)
            if state != before and state in ("preempted", "failed"):
                said = (record or {}).get("message", "")
                log.warning("%s: %s: %s", state, job.name, said)

    def run(self, signals: StopSignals) -> None:
        """Watch until all jobs have left the engine, or a signal has arrived."""
        start = there = time.monotonic()
        self.look(self.launcher.active(self.sweep))
        total, known = sum(self.work.values()), sum(self.done.values())
        with ProgressReport("sweep", total=total, done=known) as report:
            while signals.received is None:
                try:
                    active = self.launcher.active(self.sweep)
                except EngineAway as error:
                    log.warning("%s; trying again", error)
                    pause(LONGEST, signals)
                    continue
                self.look(active)
                report.update(sum(self.done.values()), self.describe())
                if all(state in FINAL for state in self.states.values()):
                    return
                now = time.monotonic()
                if any(self.states[number] not in FINAL for number in active):
                    there = now
                elif now - there >= LATE:
                    return
                old = GROWTH * (now - start)
                pause(min(SHORTEST + old, LONGEST) if active else SHORTEST, signals)

    def describe(self) -> str:
        """Return such as `12 of 27 runs finished, 2 running, 13 queued`."""
        found = list(self.states.values())
        counts = [f"{found.count('finished')} of {len(found)} runs finished"]
        for state in ("failed", "running", "preempted", "queued"):
            if state in found:
                counts.append(f"{found.count(state)} {state}")
        return ", ".join(counts)

    def record_lost(self) -> None:
        """Record jobs that have left the engine without an end of their own as failed."""
        ids, records = self.sweep.submitted(), dict[int, Record]()
        for job in (job for group in generations(self.jobs) for job in group):
            record = self.sweep.record(job.number) or {"state": "missing"}
            if record["state"] not in FINAL:
                identifier = ids.get(job.number, "?")
                failed = any(records[number]["state"] != "finished" for number in job.needs)
                said = WITHOUT_PARENT["message"]
                if not failed:
                    end = self.launcher.end_of(self.sweep, job.number, identifier)
                    log_file = self.launcher.log_of(self.sweep, job.number, identifier)
                    said = f"lost: job {identifier} is {end}; log {log_file}"
                record = {"id": identifier, **record, "state": "failed", "message": said}
                self.sweep.write_record(job.number, record)
            records[job.number] = record


def work_done(record: Record | None, job: Job) -> float:
    """Return how much of a job's work is done, by the passes in its run folder."""
    metrics = Path((record or {}).get("folder", "")) / "metrics.csv"
    try:
        passes = metrics.read_text().count("\n") - 1
    except OSError:
        return 0.0
    return work_of(job, passes=max(passes, 0))


def pause(seconds: float, signals: StopSignals) -> None:
    """Wait, but no longer than until a signal arrives."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and signals.received is None:
        time.sleep(0.1)
