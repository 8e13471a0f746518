"""The click commands: parse, call, print. Nothing heavy is imported until a command runs."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from iwae_cli import __version__, data_cli, model_cli, results_cli, terminal
from iwae_cli.completion import overrides_completed
from iwae_cli.core import runtime
from iwae_cli.core.errors import SweepError, UsageError
from iwae_cli.options import as_json, checkpoint, checkpoints, counts, device, seed, split

if TYPE_CHECKING:
    from iwae_cli.training.dry_run import Forecast

INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
FOLDER = click.Path(exists=True, file_okay=False)


def print_trained(results: Sequence[terminal.Row]) -> None:
    """Print what training came to, and the command to type next."""
    terminal.print_table(results, terminal.TRAINED)
    if finished := sum(bool(result.get("already_finished")) for result in results):
        click.echo(f"{finished} of {len(results)} were finished before: nothing was trained there")
    click.echo(f"Next: iwae eval --checkpoint {shlex.quote(str(results[-1]['folder']))}")


def print_forecasts(forecasts: Sequence["Forecast"], *, as_json: bool) -> None:
    """Print what a dry run found, and the sums."""
    from iwae_cli.core.progress import clock

    rows: list[terminal.Row] = [asdict(one) for one in forecasts]
    if as_json:
        terminal.print_json(rows)
        return
    shown = [
        {**row, "time_left": clock(row["seconds"]), "megabytes": row["bytes"] / 1e6} for row in rows
    ]
    terminal.print_table(shown, terminal.FORECAST)
    finished = sum(one.state == "finished" for one in forecasts)
    left = clock(sum(one.seconds for one in forecasts))
    megabytes = sum(one.bytes for one in forecasts) / 1e6
    click.echo(
        f"{len(rows)} runs, {finished} finished; {left} left on this machine, one after another; "
        f"{megabytes:.0f} MB"
    )


@click.group(
    cls=terminal.Commands,
    invoke_without_command=True,
    context_settings={"show_default": True},
)
@click.version_option(__version__, package_name="iwae-cli", prog_name="iwae")
@click.pass_context
def main(ctx: click.Context) -> None:
    r"""Train and judge importance weighted autoencoders (Burda et al. 2015, arXiv 1509.00519).

    \b
    Examples:
      iwae train dataset=digits k=5 optimizer.stages=5   no files, no network
      iwae eval                                          test NLL of the newest run by L_5000
      iwae active-units                                  which latent units the model uses
      iwae data mnist                                    fetch, verify and describe a data set

    \b
    Completion of commands and overrides, for bash (zsh and fish likewise):
      eval "$(_IWAE_COMPLETE=bash_source iwae)"
    """
    runtime.tune()
    terminal.log_to_stderr()
    if ctx.invoked_subcommand is None and not ctx.resilient_parsing:
        click.echo(ctx.get_help())


@main.command()
@click.argument("overrides", nargs=-1, shell_complete=overrides_completed)
@click.option("-m", "--multirun", is_flag=True, help="Sweep over comma-separated values.")
@click.option("--dry-run", is_flag=True, help="List the runs: state, time left, disk; no run.")
@click.option("--cfg", type=click.Choice(["job", "hydra", "all"]), help="Print the config; no run.")
@click.option("--resolve", is_flag=True, help="With --cfg: resolve interpolations.")
@click.option("--info", type=click.Choice(INFO), help="Print what Hydra composes from; no run.")
@click.option("--config-dir", type=FOLDER, help="Your own folder of YAML files, searched first.")
@as_json
def train(
    overrides: tuple[str, ...],
    multirun: bool,
    dry_run: bool,
    cfg: str | None,
    resolve: bool,
    info: str | None,
    config_dir: str | None,
    as_json: bool,
) -> None:
    r"""Train a model; the same command again resumes it.

    OVERRIDES are key=value pairs over conf/config.yaml; --cfg job shows all keys.

    \b
    Examples:
      iwae train k=50
      iwae train dataset=digits k=5 objective=vae optimizer.stages=5 seed=1
      iwae train 'arch.latents=[20]' 'arch.hidden=[[100,100]]' device=cpu
      iwae train -m k=1,5,50 arch=one_layer,two_layer
      iwae train --dry-run experiment=table1 optimizer=fast
      iwae train dataset=arrays dataset.train=mine.npz
      iwae train --cfg job optimizer=fast
    """
    if resolve and not cfg:
        raise UsageError("--resolve needs --cfg job, hydra or all")
    if sum(map(bool, (multirun or dry_run, cfg, info))) > 1:
        raise UsageError("only one of --multirun or --dry-run, --cfg and --info can be given")
    from iwae_cli import launch

    if cfg or info:
        launch.show(overrides, cfg=cfg, resolve=resolve, info=info, config_dir=config_dir)
        return
    if dry_run:
        from iwae_cli.training.dry_run import forecasts

        points = launch.plan(overrides, multirun=multirun, config_dir=config_dir).points
        print_forecasts(forecasts(point.config for point in points), as_json=as_json)
        return
    done = launch.launch(overrides, multirun=multirun, config_dir=config_dir)
    if as_json:
        terminal.print_json(done.results)
    elif done.results:
        print_trained(done.results)
    if done.failures:
        total = len(done.failures) + len(done.results)
        lines = "; ".join(done.failures)
        raise SweepError(f"{len(done.failures)} of {total} runs of the sweep failed: {lines}")


@main.command("eval")
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
@seed
@device
@as_json
def evaluate(paths: tuple[Path, ...], as_json: bool, **options: Any) -> None:  # noqa: ANN401  (as click parses them)
    r"""Estimate the test NLL by L_k, in nats per image.

    Rows that eval.csv of the run already has are not computed again. The column
    'bound' says what the estimate of log p(x) is in expectation: a lower or an
    upper bound, or neither.

    \b
    Examples:
      iwae eval
      iwae eval --k 1,5,50,5000 --split valid
      iwae eval --estimator jvi,order=1 --k 50
      iwae eval --checkpoint RUN_A --checkpoint RUN_B --limit 1000 --json
    """
    from iwae_cli.evaluation.evaluate import evaluate as estimate

    rows: list[terminal.Row] = []
    for path in checkpoints(paths):
        new = estimate(path, **options)
        rows += new
        if not as_json:
            terminal.print_table(new, terminal.EVALUATED, title=str(new[0]["run"]))
    if as_json:
        terminal.print_json(rows)


@main.command("active-units")
@checkpoint
@click.option(
    "--threshold",
    type=click.FloatRange(min=0),
    default=0.01,
    help="A unit is active where A_u is larger.",
)
@split(default="train")
@click.option(
    "--definition", type=click.Choice(["paper", "original-code"]), default="paper", help="Of A_u."
)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=100,
    help="Draws per image for the layers above the first.",
)
@click.option("--check", is_flag=True, help="Also the NLL without the inactive units.")
@seed
@device
@as_json
def active_units(paths: tuple[Path, ...], as_json: bool, **options: Any) -> None:  # noqa: ANN401  (as click parses them)
    r"""Count the units that vary with the image.

    A_u is the variance, over images, of the posterior mean of unit u. Writes all
    A_u as CSV, and their histogram as PNG, into the run's folder.

    \b
    Examples:
      iwae active-units
      iwae active-units --check --split test
      iwae active-units --checkpoint RUN --threshold 0.02 --definition original-code
    """
    from iwae_cli.evaluation.active_units import active_units as count
    from iwae_cli.reports.figures import curves

    results = [count(path, **options) for path in checkpoints(paths)]
    for result in results:
        result["plot"] = str(curves.write_activity_histogram(Path(result["csv"])))
    if as_json:
        terminal.print_json(results)
    else:
        for result in results:
            terminal.print_fields(result)


COMMANDS = (
    data_cli.data,
    model_cli.gradients,
    model_cli.sample,
    model_cli.encode,
    results_cli.report,
    results_cli.runs,
)
for command in COMMANDS:
    main.add_command(command)
