"""Options and their values that several commands share."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from iwae_cli.core.errors import UsageError

DEVICES = ("auto", "cpu", "cuda", "mps")
SPLITS = ("train", "valid", "test")
FOLDER = click.Path(file_okay=False, path_type=Path)


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


def chosen(paths: Sequence[Path], output: Path | None) -> Sequence[Path]:
    """Return the checkpoints asked for, or the newest run's; one alone with --output."""
    if output and len(paths) > 1:
        raise UsageError(f"--output names one file, but there are {len(paths)} checkpoints")
    return checkpoints(paths)


def existing(_: click.Context, __: click.Parameter, folder: Path) -> Path:
    """Return a folder that is there."""
    if not folder.exists():
        raise UsageError(
            f"there is no folder '{folder}'; train a run with 'iwae train', or name the folder "
            "that holds runs"
        )
    return folder


def file_ending(suffix: str) -> Callable[[click.Context, click.Parameter, Path | None], Any]:
    """Return the check of an option that names a file with this ending."""

    def check(_: click.Context, __: click.Parameter, value: Path | None) -> Path | None:
        if value is not None and value.suffix != suffix:
            raise click.BadParameter(f"'{value}' does not end in {suffix}")
        return value

    return check


def output(suffix: str, default: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option --output for files with this ending."""
    return click.option(
        "--output",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar=f"FILE{suffix}",
        callback=file_ending(suffix),
        help=f"Where to write it.  [default: {default} in the run's folder]",
    )


results = click.option(
    "--output",
    type=FOLDER,
    help="Write results to OUTPUT/<run>.  [default: the run's folder; without one they are "
    "printed only]",
)
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
folder_to_read = click.argument("folder", type=FOLDER, default="outputs", callback=existing)
