"""`iwae export`: write a trained model as one small file."""

from pathlib import Path

import click

from iwae_cli.cli.options import as_json, file_ending, trained_runs
from iwae_cli.cli.output import print_results


@click.command()
@trained_runs
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.pt",
    callback=file_ending(".pt"),
    help="Where to write it.  [default: <run>.pt in the current folder]",
)
@as_json
def export(paths: list[Path], output: Path | None, as_json: bool) -> None:
    r"""Write a trained model as one small file.

    The file has the parameters, the configuration, the run's identity and the hash of its
    data, but not the optimiser's state: --checkpoint FILE.pt evaluates it, and
    training cannot go on from it.

    \b
    Examples:
      iwae export
      iwae export RUN --output models/iwae-k50.pt
    """
    from iwae_cli.runs.export import export as write

    print_results([write(path, output=output) for path in paths], as_json=as_json)
