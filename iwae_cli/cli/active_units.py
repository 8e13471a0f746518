"""`iwae active-units`: count the units that vary with the image."""

from pathlib import Path
from typing import Any

import click

from iwae_cli.cli.options import as_json, device, results, seed, split, trained_runs
from iwae_cli.cli.output import print_fields, print_json


@click.command("active-units")
@trained_runs
@click.option(
    "--threshold",
    type=click.FloatRange(min=0),
    default=0.01,
    help="A unit is active where A_u is larger.",
)
@split(default="train")
@click.option(
    "--definition", type=click.Choice(["paper", "original-code"]), default="paper", help="Of A_u."
)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=100,
    help="Draws per image for the layers above the first.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many images.")
@click.option("--check", is_flag=True, help="Also the NLL without the inactive units.")
@results
@seed
@device
@as_json
def active_units(paths: tuple[Path, ...], as_json: bool, **options: Any) -> None:  # noqa: ANN401  (as click parses them)
    r"""Count the units that vary with the image.

    A_u is the variance, over images, of the posterior mean of unit u. Writes all
    A_u as CSV, and their histogram as PNG, into the run's folder, if there is one.

    \b
    Examples:
      iwae active-units
      iwae active-units --check --split test
      iwae active-units RUN --threshold 0.02 --definition original-code
    """
    from iwae_cli.evaluation.active_units import active_units as count
    from iwae_cli.reports.figures.activity import write_activity_histogram

    results = [count(path, **options) for path in paths]
    for result in results:
        if result["csv"]:
            result["plot"] = str(write_activity_histogram(Path(result["csv"])))
    if as_json:
        print_json(results)
    else:
        for result in results:
            print_fields({key: value for key, value in result.items() if value is not None})
