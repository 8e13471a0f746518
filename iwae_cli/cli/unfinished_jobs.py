"""The jobs of sweeps that have not finished, as `iwae runs` lists them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iwae_cli.cli import launchers
from iwae_cli.cli.launchers.attach import state_of
from iwae_cli.cli.launchers.base import Active, Engine, EngineAway
from iwae_cli.core.errors import ConfigError
from iwae_cli.runs.sweep_folder import FINAL, SweepFolder, sweeps_below

COLUMNS = {"run": "job", "state": "state", "job_id": "job id", "sweep": "sweep", "log": "log"}
SPARE = ("log",)


def unfinished_jobs(folder: Path) -> list[dict[str, Any]]:
    """Return a row for each job with an engine that is queued, running, preempted or failed.

    The runs of launchers without a queue are not listed: each has a run folder that says as much.
    """
    rows = []
    for sweep in sweeps_below(folder):
        launcher = launchers.find(sweep.launcher())
        if isinstance(launcher, Engine):
            rows += rows_of(sweep, launcher)
    return rows


def rows_of(sweep: SweepFolder, engine: Engine) -> list[dict[str, Any]]:
    """Return the rows of one sweep; of an engine that does not answer, what the records say."""
    ids, rows = sweep.submitted(), list[dict[str, Any]]()
    records = [(job, sweep.record(job.number)) for job in sweep.jobs()]
    ended = all(record is not None and record["state"] in FINAL for _, record in records)
    active = {} if ended else active_of(sweep, engine)
    for job, record in records:
        state = str(record["state"]) if record else "queued"
        if active is not None:
            state = state_of(record, active.get(job.number))
            state = "lost" if state == "running" and job.number not in active else state
        if state != "finished":
            log = sweep.log(job.number)
            rows.append(
                {
                    "run": job.name,
                    "state": state,
                    "job_id": ids.get(job.number),
                    "sweep": sweep.name,
                    "log": str(log) if log.exists() else None,
                    "message": (record or {}).get("message"),
                }
            )
    return rows


def active_of(sweep: SweepFolder, engine: Engine) -> Mapping[int, Active] | None:
    """Return what the engine has of a sweep; None where it does not answer."""
    try:
        engine.check()
        return engine.active(sweep)
    except (ConfigError, EngineAway):
        return None
