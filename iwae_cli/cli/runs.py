"""`iwae runs`: list runs with their state."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from iwae_cli.cli.options import as_json, sources_to_read
from iwae_cli.cli.output import fail_if_unreadable, print_json, print_table

if TYPE_CHECKING:
    from iwae_cli.reports.run_record import RunRecord


LISTED = {"run": "run", "state": "state", "data": "data", "objective": "objective", "k": "k"}
LISTED |= {"seed": "seed", "progress": "passes", "nll": "NLL", "eval_k": "by k"}
LISTED |= {"parent": "started from", "differs_in": "differs in"}
# What a narrow terminal does without, in this order; the names of runs say most of it
SPARE = ("data", "parent", "objective", "k", "seed", "eval_k", "differs_in")


@click.command()
@sources_to_read
@as_json
def runs(sources: Sequence[Path], as_json: bool) -> None:
    r"""List the runs of each SOURCE with their state.

    A SOURCE is a folder that holds runs, by default outputs, a single run, or a runs.csv
    of 'iwae report'.
    A run is finished, running, failed or interrupted; the last two go on with the
    same `iwae train` command. NLL is that of all test images by the largest k.
    'differs in' tells runs apart whose names are equal but for the hash. Jobs of
    sweeps that have not finished are listed below, with the ids of their engine.

    \b
    Examples:
      iwae runs
      iwae runs outputs monday/runs.csv
      iwae runs outputs/paper --json
    """
    from iwae_cli.cli import unfinished_jobs
    from iwae_cli.reports.collect import collect

    jobs = [job for one in sources if one.is_dir() for job in unfinished_jobs.unfinished_jobs(one)]
    collected = collect(sources, arrays=False, some=not jobs)  # a job need not have a run yet
    unreadable = collected.unreadable
    rows = listed(collected.runs) if collected.runs else []
    if as_json:
        print_json([*rows, *jobs])
        fail_if_unreadable(unreadable)
        return
    if rows:
        empty = {key for key in ("parent", "differs_in") if not any(row[key] for row in rows)}
        shown = {key: name for key, name in LISTED.items() if key not in empty}
        print_table(rows, shown, spare=SPARE)
    if jobs:
        columns, spare = unfinished_jobs.COLUMNS, unfinished_jobs.SPARE
        print_table(jobs, columns, title="jobs that have not finished", spare=spare)
    fail_if_unreadable(unreadable)


def listed(found: Sequence["RunRecord"]) -> list[dict[str, Any]]:
    """Return what `iwae runs` tells of each run, as JSON types."""
    from iwae_cli.reports.namesakes import differing_keys
    from iwae_cli.reports.run_tables import scores_table

    names = ("run", "folder", "state", "data", "architecture", "objective", "k", "seed", "passes")
    rows = []
    scores = scores_table(found).to_dict("records")
    for run, score, differs in zip(found, scores, differing_keys(found), strict=True):
        evaluated = score["eval_k"] == score["eval_k"]  # not NaN
        rows.append(
            {name: score[name] for name in names}
            | {
                "parent": score["parent"] or None,
                "differs_in": differs or None,
                "total_passes": run.total_passes,
                "progress": f"{run.passes}/{run.total_passes or '?'}",
                "nll": score["eval_nll"] if evaluated else None,
                "eval_k": int(score["eval_k"]) if evaluated else None,
            }
        )
    return rows
