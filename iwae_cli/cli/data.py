"""`iwae data`: fetch, verify and describe a data set."""

import click

from iwae_cli.cli.completion import choice_of
from iwae_cli.cli.options import as_json
from iwae_cli.cli.output import print_fields, print_json, print_table
from iwae_cli.core.errors import UsageError

DESCRIBED = {
    "split": "split",
    "images": "images",
    "pixels": "pixels",
    "mean": "mean",
    "min": "min",
    "max": "max",
}


@click.command()
@click.argument("name", required=False, shell_complete=choice_of("dataset"))
@click.argument("options", nargs=-1, metavar="[KEY=VALUE]...")
@as_json
def data(name: str | None, options: tuple[str, ...], as_json: bool) -> None:
    r"""Fetch, verify and describe a data set.

    Without a name, all are listed. Files are looked for in IWAE_DATA_DIR, then in the
    cache folder, and what is missing is downloaded: 11 MB for mnist, 110 MB for
    mnist_fixed, 10 MB for omniglot; digits are inside scikit-learn.

    \b
    Examples:
      iwae data
      iwae data mnist
      iwae data arrays train=mine.npz
    """
    from iwae_cli.data import registry

    if name is None:
        sources = {key: source.__doc__ or "" for key, source in registry.SOURCES.items()}
        listed = [{"name": key, "what": doc.splitlines()[0]} for key, doc in sources.items()]
        print_json(listed) if as_json else print_table(listed, {"name": "name", "what": "what"})
        return
    if bad := [option for option in options if "=" not in option]:
        raise UsageError(f"cannot read '{bad[0]}': options are written key=value")
    values = {key: as_typed(text) for key, _, text in (word.partition("=") for word in options)}
    source = registry.find({"name": name, **values})
    described = {**registry.describe(source.load()), "files": registry.files_of(source)}
    if as_json:
        print_json(described)
        return
    splits = described.pop("splits")
    files = described.pop("files")
    print_fields(described)
    for file in files:
        click.echo(f"file  {file['path']}")
    print_table([{"split": key} | row for key, row in splits.items()], DESCRIBED)


def as_typed(text: str) -> int | float | str:
    """Return the number that a text is, or the text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
