"""`iwae train`: train a model, sweep over several, or list what would run."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from iwae_cli.cli.completion import overrides_completed
from iwae_cli.cli.group import Overridden
from iwae_cli.cli.options import as_json
from iwae_cli.cli.output import Row, print_json, print_table
from iwae_cli.cli.sweep_results import with_scores
from iwae_cli.core.errors import SweepError, UsageError

if TYPE_CHECKING:
    from iwae_cli.training.dry_run import Forecast


INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
FOLDER = click.Path(exists=True, file_okay=False)
# The columns of tables: key and heading
TRAINED = {"folder": "run", "passes": "passes", "bound": "bound", "valid_bound": "valid bound"}
TRAINED |= {"nll": "NLL", "eval_k": "by k", "active": "active units"}
FORECAST = {"run": "run", "state": "state", "passes_done": "done", "passes": "passes"}
FORECAST |= {"time_left": "time left", "megabytes": "MB"}


@click.command(cls=Overridden)
@click.argument("overrides", nargs=-1, shell_complete=overrides_completed)
@click.option("-m", "--multirun", is_flag=True, help="Sweep over comma-separated values.")
@click.option("--dry-run", is_flag=True, help="List the runs: state, time left, disk; no run.")
@click.option("--detach", is_flag=True, help="Return once jobs are queued (slurm, ray).")
@click.option("--cfg", type=click.Choice(["job", "hydra", "all"]), help="Print the config; no run.")
@click.option("--resolve", is_flag=True, help="With --cfg: resolve interpolations.")
@click.option("--info", type=click.Choice(INFO), help="Print what Hydra composes from; no run.")
@click.option("--config-dir", type=FOLDER, help="Your own folder of YAML files, searched first.")
@as_json
def train(
    overrides: tuple[str, ...],
    multirun: bool,
    dry_run: bool,
    detach: bool,
    cfg: str | None,
    resolve: bool,
    info: str | None,
    config_dir: str | None,
    as_json: bool,
) -> None:
    r"""Train a model; the same command again resumes it.

    OVERRIDES are key=value pairs over conf/config.yaml; --cfg job shows all keys.
    profile=NAME stands for the sweeps in conf/profile/NAME.yaml, one after another.

    \b
    Examples:
      iwae train k=50
      iwae train dataset=digits k=5 objective=vae optimizer.passes=20 seed=1
      iwae train 'arch.latents=[20]' 'arch.hidden=[[100,100]]' device=cpu
      iwae train -m k=1,5,50 arch=one_layer,two_layer launcher=joblib
      iwae train --dry-run experiment=table1
      iwae train profile=fast
      iwae train dataset=arrays dataset.train=mine.npz
      iwae train --cfg job optimizer=fast
    """
    if resolve and not cfg:
        raise UsageError("--resolve needs --cfg job, hydra or all")
    if sum(map(bool, (multirun or dry_run, cfg, info))) > 1:
        raise UsageError("only one of --multirun or --dry-run, --cfg and --info can be given")
    from iwae_cli.cli import compose, launch, profiles

    sweeps = profiles.sweeps_of(overrides, config_dir=config_dir)
    if cfg or info:
        if len(sweeps) > 1:
            raise UsageError("a profile is several sweeps: name what is in it, not the profile")
        launch.refuse_hydras_launchers(sweeps[0])
        compose.show(sweeps[0], cfg=cfg, resolve=resolve, info=info, config_dir=config_dir)
        return
    if dry_run:
        from iwae_cli.training.dry_run import forecasts

        plans = launch.plans(sweeps, multirun=multirun, config_dir=config_dir)
        points = [point for plan in plans for point in plan.points]
        print_forecasts(forecasts(point.config for point in points), as_json=as_json)
        return
    done = launch.launch_all(sweeps, multirun=multirun, config_dir=config_dir, detach=detach)
    results = with_scores(done.results) if done.sweep else done.results
    if as_json:
        print_json(results)
    elif results:
        print_trained(results, sweep=done.sweep)
    if done.failures:
        from iwae_cli.core.progress import counted

        total = len(done.failures) + len(done.results)
        lines = "; ".join(done.failures)
        of = f"{len(done.failures)} of {counted(total, 'run')}"
        raise SweepError(f"{of} of the sweep failed: {lines}")


def print_trained(results: Sequence[Row], *, sweep: bool) -> None:
    """Print what training came to, and the command to type next."""
    print_table(results, TRAINED)
    finished = sum(bool(result.get("already_finished")) for result in results)
    if finished == len(results):
        click.echo("already finished; nothing to train")
    elif finished:
        verb = "was" if finished == 1 else "were"
        click.echo(
            f"{finished} of {len(results)} {verb} finished before: nothing was trained there"
        )
    folder = Path(str(results[-1]["folder"]))
    outputs = "" if folder.parts[0] == "outputs" else str(folder.parents[1])
    command = f"iwae report {outputs}" if sweep else f"iwae eval {shlex.quote(str(folder))}"
    click.echo(f"Next: {command.strip()}")


def print_forecasts(forecasts: Sequence["Forecast"], *, as_json: bool) -> None:
    """Print what a dry run found, and the sums."""
    from iwae_cli.core.progress import clock, counted

    rows: list[Row] = [asdict(one) for one in forecasts]
    if as_json:
        print_json(rows)
        return
    shown = [
        {**row, "time_left": clock(row["seconds"]), "megabytes": row["bytes"] / 1e6} for row in rows
    ]
    print_table(shown, FORECAST)
    finished = sum(one.state == "finished" for one in forecasts)
    left = clock(sum(one.seconds for one in forecasts))
    megabytes = sum(one.bytes for one in forecasts) / 1e6
    click.echo(
        f"{counted(len(rows), 'run')}, {finished} finished; {left} left on this machine"
        f"{', one after another' if len(rows) > 1 else ''}; {megabytes:.0f} MB"
    )
