"""`iwae export`: write a trained model as one small file."""

from pathlib import Path

import click

from iwae_cli.cli.options import as_json, checkpoints, file_ending
from iwae_cli.cli.output import print_results


@click.command()
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.pt",
    callback=file_ending(".pt"),
    help="Where to write it.  [default: <run>.pt in the current folder]",
)
@as_json
def export(run: Path | None, output: Path | None, as_json: bool) -> None:
    r"""Write a trained model as one small file.

    RUN is a run folder or a checkpoint, by default the newest below outputs/runs. The
    file has the parameters, the configuration, the run's identity and the hash of its
    data, but not the optimiser's state: --checkpoint FILE.pt evaluates it, and
    training cannot go on from it.

    \b
    Examples:
      iwae export
      iwae export outputs/runs/RUN --output models/iwae-k50.pt
    """
    from iwae_cli.runs.export import export as write

    (path,) = checkpoints([run] if run else [])
    print_results([write(path, output=output)], as_json=as_json)
