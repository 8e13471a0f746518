"""`iwae verify`: check what a run folder says of itself."""

from pathlib import Path

import click

from iwae_cli.cli.options import as_json, trained_runs
from iwae_cli.cli.output import print_json, print_table
from iwae_cli.core.errors import ResultsError

SHOWN = {"check": "what", "holds": "holds", "found": "found"}


@click.command()
@trained_runs
@click.option("--limit", type=click.IntRange(min=1), default=100, help="Images to evaluate again.")
@as_json
def verify(paths: list[Path], limit: int, as_json: bool) -> None:
    r"""Check that a run's files hold what they say.

    The identity and the hash of the data are computed again, config.yaml is compared with
    the checkpoint, each row of eval.csv with per_image.npz, and the first images of each
    evaluated split are evaluated again in float64 by the plain formulas of the paper, not
    by the code that is fast. The exit code is 1 if something does not hold.

    \b
    Examples:
      iwae verify
      iwae verify RUN --limit 10 --json
    """
    from dataclasses import replace

    from iwae_cli.evaluation.verify import verify as checked
    from iwae_cli.training.resolve import prepare

    rows = []
    for path in paths:
        found = checked(
            path,
            identity_of=lambda settings: prepare(replace(settings, device="cpu")).identity,
            images=limit,
        )
        own = [{"run": str(path), **check._asdict()} for check in found]
        rows += own
        if not as_json:
            print_table(own, SHOWN, title=str(path))
    if as_json:
        print_json(rows)
    if wrong := sum(not row["holds"] for row in rows):
        raise ResultsError(f"{wrong} of {len(rows)} checks do not hold")
