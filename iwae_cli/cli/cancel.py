"""`iwae cancel`: end the jobs of a sweep."""

from pathlib import Path

import click

from iwae_cli.cli.options import FOLDER, as_json
from iwae_cli.cli.output import print_json


@click.command()
@click.argument("sweep")
@click.option("--outputs", type=FOLDER, default="outputs", help="Where its runs go.")
@as_json
def cancel(sweep: str, outputs: Path, as_json: bool) -> None:
    r"""End the jobs of a sweep; running ones save.

    SWEEP is the folder of a sweep, or its name as 'iwae runs' prints it. The same
    'iwae train' command goes on with it.

    \b
    Examples:
      iwae cancel digits-27runs-1a2b3c4d
    """
    from iwae_cli.cli import launchers
    from iwae_cli.cli.launchers.base import Engine
    from iwae_cli.core.errors import UsageError
    from iwae_cli.runs.sweep_folder import find_sweep

    found = find_sweep(sweep, outputs)
    engine = launchers.find(found.launcher())
    if not isinstance(engine, Engine):
        raise UsageError(
            f"the runs of {found.name} belong to the command that started them: end it with Ctrl-C"
        )
    engine.check()
    active = engine.active(found)
    engine.cancel(found)
    if as_json:
        print_json({"sweep": found.name, "cancelled": len(active)})
        return
    click.echo(f"{len(active)} jobs of {found.name} were cancelled; running ones save")
