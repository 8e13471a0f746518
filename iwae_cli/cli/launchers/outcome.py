"""What came of a sweep, told from the records of its jobs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from iwae_cli.core.errors import Stopped
from iwae_cli.runs.sweep_folder import Job, SweepFolder


@dataclass(frozen=True)
class Launched:
    """What came of a plan: each finished run's results, and a line for each failed run."""

    results: list[dict[str, Any]]
    failures: list[str]
    sweep: bool = False


def outcome(sweep: SweepFolder, jobs: Sequence[Job], received: int | None) -> Launched:
    """Return what came of the runs that were asked for.

    Raises:
        Stopped: A signal ended the sweep, or one of its runs.
    """
    results, failures, stopped = list[dict[str, Any]](), list[str](), list[dict[str, Any]]()
    for job in jobs:
        record = sweep.record(job.number) or {"state": "not started"}
        match record["state"]:
            case "finished":
                results += [record["result"]] if job.asked else []
            case "failed":
                failures.append(f"[{job.name}] {record['message']}")
            case "stopped":
                stopped.append(record)
            case "running":
                where = f"its process was killed, see {sweep.log(job.number)}"
                failures.append(f"[{job.name}] {where}")
    if received is not None or stopped:
        said = "; ".join(record["message"] for record in stopped) or "stopped between two runs"
        asked = sum(job.asked for job in jobs)
        raise Stopped(
            f"{said}; {len(results)} of {asked} runs of the sweep are finished",
            signal_number=received or stopped[0]["signal"],
        )
    return Launched(results, failures, sweep=True)
