"""The command `iwae`, one file a command. Nothing heavy is imported until one runs."""

import click

from iwae_cli.cli.active_units import active_units
from iwae_cli.cli.cancel import cancel
from iwae_cli.cli.data import data
from iwae_cli.cli.encode import encode
from iwae_cli.cli.evaluate import evaluate
from iwae_cli.cli.export import export
from iwae_cli.cli.gradients import gradients
from iwae_cli.cli.group import Commands
from iwae_cli.cli.output import log_to_stderr
from iwae_cli.cli.report import report
from iwae_cli.cli.runs import runs
from iwae_cli.cli.sample import sample
from iwae_cli.cli.train import train
from iwae_cli.cli.verify import verify
from iwae_cli.core import runtime
from iwae_cli.core.version import __version__

COMMANDS = (
    train,
    evaluate,
    active_units,
    data,
    gradients,
    sample,
    encode,
    export,
    report,
    runs,
    verify,
    cancel,
)


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"show_default": True},
)
@click.version_option(__version__, package_name="iwae-cli", prog_name="iwae")
@click.pass_context
def main(ctx: click.Context) -> None:
    r"""Train and evaluate importance weighted autoencoders (Burda et al. 2015, arXiv 1509.00519).

    \b
    Examples:
      iwae train dataset=digits k=5                      no files, no network
      iwae eval                                          test NLL of the newest run by L_5000
      iwae active-units                                  which latent units the model uses
      iwae data mnist                                    fetch, verify and describe a data set

    \b
    Completion of commands and overrides, for bash (zsh and fish likewise):
      eval "$(_IWAE_COMPLETE=bash_source iwae)"
    """
    runtime.open_standard_streams()
    runtime.tune()
    log_to_stderr()
    if ctx.invoked_subcommand is None and not ctx.resilient_parsing:
        click.echo(ctx.get_help())


for command in COMMANDS:
    main.add_command(command)
