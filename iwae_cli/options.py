"""Options and their values that several commands share."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

DEVICES = ("auto", "cpu", "cuda", "mps")
SPLITS = ("train", "valid", "test")


def counts(_: click.Context, __: click.Parameter, value: str) -> list[int]:
    """Return the whole numbers of a list such as `1,5,50`, sorted, each once."""
    parts = value.split(",")
    if not all(part.strip().isdecimal() and int(part) >= 1 for part in parts):
        raise click.BadParameter(f"{value!r} is not a list of whole numbers of at least 1")
    return sorted({int(part) for part in parts})


def checkpoints(given: Sequence[Path]) -> Sequence[Path]:
    """Return the checkpoints asked for, or the newest run's, which is named on stderr."""
    from iwae_cli.runs.folder import newest_run

    if given:
        return given
    newest = newest_run(Path("outputs"))
    click.echo(f"newest run: {newest}", err=True)
    return [newest]


as_json = click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
checkpoint = click.option(
    "--checkpoint",
    "paths",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A checkpoint or a run folder; may be repeated.  [default: newest below outputs/runs]",
)
seed = click.option(
    "--seed", type=click.IntRange(min=0), default=0, help="Of binarisation and noise."
)
device = click.option("--device", type=click.Choice(DEVICES), default="auto", help="Where to run.")
split = partial(click.option, "--split", type=click.Choice(SPLITS), help="Which images.")
