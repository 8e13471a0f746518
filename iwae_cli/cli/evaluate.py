"""`iwae eval`: estimate the test NLL."""

from pathlib import Path
from typing import Any

import click

from iwae_cli.cli.options import (
    as_json,
    checkpoint,
    checkpoints,
    counts,
    device,
    results,
    seed,
    split,
)
from iwae_cli.cli.output import Row, print_json, print_table

EVALUATED = {"split": "split", "images": "images", "estimator": "estimator", "k": "k"}
EVALUATED |= {"nll": "NLL", "bound_kind": "bound", "bias": "bias"}
EVALUATED |= {"se_images": "se (images)", "se_mc": "se (MC)", "share_ess_below_10": "ESS < 10"}
EVALUATED |= {"negative_elbo": "-ELBO", "images_per_second": "images/s"}


@click.command("eval")
@checkpoint
@click.option("--k", metavar="K[,K...]", default="5000", callback=counts, help="Samples.")
@split(default="test")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many images.")
@click.option(
    "--estimator",
    metavar="NAME[,KEY=VALUE]",
    default="L_k",
    help="L_k, jvi (order=1) or vr (alpha=0.5) of log p(x).",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16", "auto"]),
    default="float32",
    help="Of matrix products.",
)
@results
@seed
@device
@as_json
def evaluate(paths: tuple[Path, ...], as_json: bool, **options: Any) -> None:  # noqa: ANN401  (as click parses them)
    r"""Estimate the test NLL by L_k, in nats per image.

    Rows that eval.csv of the run already has are not computed again. The column
    'bound' says what the estimate of log p(x) is in expectation: a lower or an
    upper bound, or neither. A checkpoint outside a run folder, as `iwae export`
    makes it, leaves no file unless --output says where.

    \b
    Examples:
      iwae eval
      iwae eval --k 1,5,50,5000 --split valid
      iwae eval --estimator jvi,order=1 --k 50
      iwae eval --checkpoint RUN_A --checkpoint RUN_B --limit 1000 --json
    """
    from iwae_cli.evaluation.evaluate import evaluate as estimate

    rows: list[Row] = []
    for path in checkpoints(paths):
        new = estimate(path, **options)
        rows += new
        if not as_json:
            print_table(new, EVALUATED, title=str(new[0]["run"]))
    if as_json:
        print_json(rows)
