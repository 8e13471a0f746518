"""`iwae encode`: write posterior means and samples of a split."""

from pathlib import Path
from typing import Any

import click

from iwae_cli.cli.options import as_json, data_file, device, output, seed, split, trained_runs
from iwae_cli.cli.output import print_results


@click.command()
@trained_runs
@split(default="test")
@click.option(
    "--k", type=click.IntRange(min=1), default=50, help="Draws per image that are weighted."
)
@click.option(
    "--samples", type=click.IntRange(min=1), default=1, help="Samples per image to keep of them."
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many images.")
@data_file
@seed
@output(".npz", "encoding_SPLIT.npz")
@device
@as_json
def encode(
    paths: tuple[Path, ...],
    output: Path | None,
    as_json: bool,
    **options: Any,  # noqa: ANN401  (as click parses them)
) -> None:
    r"""Write posterior means and samples of a split to npz.

    Of --k draws of the recognition network, --samples are chosen with replacement
    by their importance weights: samples of the true posterior as k grows.

    \b
    Arrays, one row an image, for each stochastic layer 1, 2, ...:
      mean_1, ...    [N, H]           mean of the recognition network: exact in
                                      layer 1, above it over k draws, unweighted
      sample_1, ...  [N, SAMPLES, H]  the chosen draws; layers belong together
      ess            [N]              effective sample size of the k draws
      settings                        JSON: run, data, split, k, samples, seed

    \b
    Examples:
      iwae encode
      iwae encode --split train --k 500 --samples 10 --output latents.npz
      iwae encode RUN --limit 1000 --json
      iwae encode RUN --data new.npy
    """
    from iwae_cli.evaluation.encoding import encode as write_encoding

    results = [write_encoding(path, output=output, **options) for path in paths]
    print_results(results, as_json=as_json)
