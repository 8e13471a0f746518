"""A group of commands whose mistakes are one line each."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from iwae_cli.core.errors import IwaeError
from iwae_cli.core.memory import enough_memory


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Report a user's mistake in the block as one line, and exit; the rest keeps its traceback."""
    try:
        with enough_memory("this; lower k, the batch size or --limit"):
            yield
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "iwae"
        failure, code = f"{error.format_message().rstrip('.')}; see '{where} --help'", 2
    except IwaeError as error:
        failure, code = str(error), error.exit_code
    except OSError as error:
        if error.filename is None:
            raise
        failure, code = f"{error.filename}: {error.strerror}", 1
    except KeyboardInterrupt:
        failure, code = "interrupted", 130
    else:
        return
    click.echo(f"iwae: {' '.join(failure.split())}", err=True)
    raise click.exceptions.Exit(code)


class Commands(click.Group):
    """A group whose mistakes are one line each, and whose docstrings may be raw."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  (those of click)
        super().__init__(*args, **kwargs)
        self.help = with_blocks(self.help)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command."""
        cmd.help = with_blocks(cmd.help)
        super().add_command(cmd, name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the group's own options."""
        with one_line_errors():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Parse and carry out the command."""
        with one_line_errors():
            return super().invoke(ctx)


def with_blocks(page: str | None) -> str | None:
    r"""Return a help page in which a line `\b` of a raw docstring is click's mark of a block."""
    return page and page.replace("\\b\n", "\b\n")
