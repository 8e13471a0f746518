"""Options and their values that several commands share."""

import difflib
from collections.abc import Callable, Iterable, Sequence
from functools import partial, wraps
from glob import glob
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from iwae_cli.cli.output import say
from iwae_cli.core.errors import UsageError

DEVICES = ("auto", "cpu", "cuda", "mps")
SPLITS = ("train", "valid", "test")
RUNS = Path("outputs/runs")
CHECKPOINT = "checkpoint.pt"
NAMED = 5  # runs that a message names
FOLDER = click.Path(file_okay=False, path_type=Path)


def counts(_: click.Context, __: click.Parameter, value: str) -> list[int]:
    """Return the whole numbers of a list such as `1,5,50`, sorted, each once."""
    parts = value.split(",")
    if not all(part.strip().isdecimal() and int(part) >= 1 for part in parts):
        raise click.BadParameter(f"{value!r} is not a list of whole numbers of at least 1")
    return sorted({int(part) for part in parts})


def trained_runs(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the argument RUN..., run folders or checkpoints, as `paths`.

    A name stands for the run of that name below outputs/runs, and a pattern such as '*k50*' for
    all that it matches. Without any, `paths` is the newest run, which is named on stderr.
    """

    @wraps(command)
    def with_paths(runs: tuple[Path, ...], checkpoint: tuple[Path, ...], **options: Any) -> Any:  # noqa: ANN401  (as click parses them)
        asked = (*runs, *checkpoint)
        refuse_one_file(options.get("output"), len(asked))
        paths = [path for given in asked for path in matching(given)]
        refuse_one_file(options.get("output"), len(paths))
        return command(paths=paths or [newest()], **options)

    path = click.Path(path_type=Path)
    option = click.option("--checkpoint", type=path, multiple=True, help="The same as RUN.")
    argument = click.argument(
        "runs", type=path, nargs=-1, metavar="[RUN]...", shell_complete=runs_completed
    )
    return argument(option(with_paths))


def refuse_one_file(output: Path | None, runs: int) -> None:
    """Raise UsageError where one file is to hold the results of several runs."""
    if output and output.suffix and runs > 1:
        raise UsageError(f"--output names one file, but there are {runs} runs")


def matching(given: Path) -> list[Path]:
    """Return the runs that a path, a name or a pattern stands for, sorted.

    Raises:
        UsageError: Nothing matches the pattern.
    """
    places = [given, RUNS / given]
    for path in places:
        if path.exists() and str(given) != ".":
            check_is_run(path)
            return [path]
    if not set("*?[") & set(str(given)):
        raise UsageError(no_such_run(str(given)))
    for path in places:
        if found := sorted(map(Path, glob(str(path)))):
            return [one for one in found if one.is_file() or (one / CHECKPOINT).exists()] or found
    raise UsageError(f"no run matches '{given}'; 'iwae runs' lists them")


def check_is_run(path: Path) -> None:
    """Raise UsageError for a folder that is no run, with the runs that are in it."""
    if not path.is_dir() or (path / CHECKPOINT).exists():
        return
    if found := newest_first([*path.glob(f"*/{CHECKPOINT}"), *path.glob(f"runs/*/{CHECKPOINT}")]):
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        names = ", ".join(str(run) for run in found[:NAMED])
        raise UsageError(f"'{path}' holds runs: name one of {names}{more} (newest first)")
    raise UsageError(
        f"'{path}' has no {CHECKPOINT}: it is no run, or one that has not saved its state yet; "
        "'iwae runs' lists runs"
    )


def no_such_run(given: str) -> str:
    """Return the message for a word that is no run: an option without dashes, or a like name."""
    key, equals, value = given.partition("=")
    known = [name for param in click.get_current_context().command.params for name in param.opts]
    if equals and f"--{key}" in known:
        return f"'{given}' is no run: options have dashes, write --{key} {value}"
    names = [run.name for run in newest_first(RUNS.glob(f"*/{CHECKPOINT}"))]
    like = [name for name in names if given and given in name]
    like += difflib.get_close_matches(given, names, n=1, cutoff=0.7)
    hint = f" did you mean '{like[0]}'?" if like else ""
    return f"there is no run '{given}':{hint} 'iwae runs' lists them"


def newest_first(checkpoints: Iterable[Path]) -> list[Path]:
    """Return the run folders of checkpoints, that written last first."""
    return [p.parent for p in sorted(checkpoints, key=lambda p: p.stat().st_mtime, reverse=True)]


def runs_completed(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of runs that complete a word, and what completes it as a path."""
    names = sorted(path.parent.name for path in RUNS.glob("*/checkpoint.pt"))
    found = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return [*found, CompletionItem(incomplete, type="file")]


def newest() -> Path:
    """Return the newest run below outputs/runs, and name it on stderr."""
    from iwae_cli.runs.folder import newest_run

    found = newest_run(Path("outputs"))
    say(f"newest run: {found}")
    return found


def sources_found(_: click.Context, __: click.Parameter, given: Sequence[Path]) -> Sequence[Path]:
    """Return folders and files that are there, the default folder without any.

    As for commands that take runs, a word may be the name of a run below outputs/runs or a pattern.
    """
    return [path for one in given or [Path("outputs")] for path in source_found(one)]


def source_found(given: Path) -> list[Path]:
    """Return the folders or files that a path, a run's name or a pattern stands for.

    Raises:
        UsageError: There is none.
    """
    places = [given, RUNS / given]
    for path in places:
        if found := [path] if path.exists() else sorted(map(Path, glob(str(path)))):
            return found
    raise UsageError(
        f"there is no '{given}'; train a run with 'iwae train', or name a run, a folder that "
        "holds runs, or a runs.csv"
    )


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
data_file = click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Your own images (.npy, .npz, .mat, idx, .csv) in place of a split; a run's own, moved.",
)
seed = click.option(
    "--seed", type=click.IntRange(min=0), default=0, help="Of binarisation and noise."
)
device = click.option("--device", type=click.Choice(DEVICES), default="auto", help="Where to run.")
split = partial(click.option, "--split", type=click.Choice(SPLITS), help="Which images.")
sources_to_read = click.argument(
    "sources",
    type=click.Path(path_type=Path),
    nargs=-1,
    metavar="[SOURCE]...",
    callback=sources_found,
    shell_complete=runs_completed,
)
