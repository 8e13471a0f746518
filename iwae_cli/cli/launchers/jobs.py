"""From the runs that a command line asks for to jobs: parents are jobs too, and come first."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from iwae_cli.core.config import Config
from iwae_cli.runs.sweep_folder import Job

# The record of a job whose parent has failed
WITHOUT_PARENT = {"state": "failed", "message": "the run that it starts from failed"}


@dataclass(frozen=True)
class Point:
    """One run that a command line asks for: its overrides and its checked configuration."""

    overrides: str
    config: Config


def jobs_of(points: Sequence[Point]) -> list[Job]:
    """Return the jobs of some runs, in their order, and behind them their parents' that are none.

    A run that is asked for twice needs the first one of the two, and so finds it finished.
    """
    first: dict[str, int] = {}
    jobs: list[Job] = []
    for number, point in enumerate(points):
        before = first.setdefault(key_of(point.config), number)
        needs = () if before == number else (before,)
        jobs.append(Job(number, point.overrides, dataclasses.asdict(point.config), needs))
    waiting = [(number, point.config) for number, point in enumerate(points)]
    while waiting:
        number, config = waiting.pop(0)
        if (parent := config.parent()) is None:
            continue
        key = key_of(parent)
        if key not in first:
            first[key] = len(jobs)
            waiting.append((len(jobs), parent))
            name = f"parent of {jobs[number].name}"
            jobs.append(Job(len(jobs), name, dataclasses.asdict(parent), asked=False))
        jobs[number] = replace(jobs[number], needs=(*jobs[number].needs, first[key]))
    return jobs


def key_of(config: Config) -> str:
    """Return a text that is equal for configs of the same run, without looking at the data."""
    from iwae_cli.training.components import components_of, identity_parts

    components, parent = components_of(config), config.parent()
    parts: dict[str, Any] = {
        **identity_parts(config, components),
        "dataset": dataclasses.asdict(components.source),  # type: ignore[call-overload]  # any dataclass
        "outputs": config.outputs,
        "parent": key_of(parent) if parent else None,
    }
    return json.dumps(parts, sort_keys=True)


def generations(jobs: Sequence[Job]) -> list[list[Job]]:
    """Return jobs in groups: those that need none of the others, those that need these, and so on.

    What a job needs and is not among `jobs` is taken for done.
    """
    there, groups, placed = {job.number for job in jobs}, list[list[Job]](), set[int]()
    while len(placed) < len(jobs):
        ready = [job for job in jobs if job.number not in placed]
        ready = [job for job in ready if (set(job.needs) & there) <= placed]
        groups.append(ready)
        placed |= {job.number for job in ready}
    return groups


def work_of(job: Job, *, passes: int | None = None) -> float:
    """Return how much work the first passes of a job are, or all, in samples an image."""
    return _work(json.dumps(job.values["optimizer"], sort_keys=True), int(job.values["k"]), passes)


@lru_cache(maxsize=4096)
def _work(optimizer: str, k: int, passes: int | None) -> float:
    from iwae_cli.training.components import find_recipe

    recipe = find_recipe(json.loads(optimizer))
    total = recipe.total_passes
    return recipe.work(k, total if passes is None else min(passes, total))
