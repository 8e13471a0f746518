"""`iwae runs`: list runs with their state."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from iwae_cli.cli.options import as_json, folder_to_read
from iwae_cli.cli.output import fail_if_unreadable, print_json, print_table

if TYPE_CHECKING:
    from iwae_cli.reports.run_record import RunRecord


LISTED = {"run": "run", "state": "state", "data": "data", "objective": "objective", "k": "k"}
LISTED |= {"seed": "seed", "progress": "passes", "nll": "NLL", "eval_k": "by k"}
LISTED |= {"parent": "started from"}


@click.command()
@folder_to_read
@as_json
def runs(folder: Path, as_json: bool) -> None:
    r"""List the runs below FOLDER with their state.

    A run is finished, running, failed or interrupted; the last two go on with the
    same `iwae train` command. NLL is that of all test images by the largest k.

    \b
    Examples:
      iwae runs
      iwae runs outputs/paper --json
    """
    from iwae_cli.reports.read_runs import read_runs

    found, unreadable = read_runs(folder, arrays=False)
    rows = listed(found) if found else []
    if as_json:
        print_json(rows)
    elif rows:
        print_table(rows, LISTED)
    fail_if_unreadable(unreadable)


def listed(found: Sequence["RunRecord"]) -> list[dict[str, Any]]:
    """Return what `iwae runs` tells of each run, as JSON types."""
    from iwae_cli.reports.run_tables import scores_table

    names = ("run", "folder", "state", "data", "architecture", "objective", "k", "seed", "passes")
    rows = []
    for run, score in zip(found, scores_table(found).to_dict("records"), strict=True):
        evaluated = score["eval_k"] == score["eval_k"]  # not NaN
        rows.append(
            {name: score[name] for name in names}
            | {
                "parent": score["parent"] or None,
                "total_passes": run.total_passes,
                "progress": f"{run.passes}/{run.total_passes or '?'}",
                "nll": score["eval_nll"] if evaluated else None,
                "eval_k": int(score["eval_k"]) if evaluated else None,
            }
        )
    return rows
