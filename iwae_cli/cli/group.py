"""A group of commands whose mistakes are one line each."""

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

from iwae_cli.cli.output import say
from iwae_cli.core.errors import IwaeError, UsageError
from iwae_cli.core.memory import enough_memory


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Report a user's mistake in the block as one line, and exit; the rest keeps its traceback."""
    advice: tuple[str, ...] = ()
    try:
        with enough_memory("this; lower k, the batch size or --limit"):
            yield
    except click.UsageError as error:
        failure, code = usage(error), 2
    except IwaeError as error:
        failure, code, advice = str(error), error.exit_code, error.advice
    except OSError as error:
        failure, code = of_system(error), 1
    except KeyboardInterrupt:
        failure, code = "interrupted", 130
    else:
        return
    say(f"iwae: {' '.join(failure.split())}")
    for line in advice:
        say(f"  {line}")
    raise click.exceptions.Exit(code)


def usage(error: click.UsageError) -> str:
    """Return the message for a command line that click cannot read."""
    where = error.ctx.command_path if error.ctx else "iwae"
    message = error.format_message().rstrip(".")
    if match := re.fullmatch(r"No such command '(\w[\w.]*=.*)'", message):
        message = f"'{match[1]}' is no command: overrides follow one, as in 'iwae train {match[1]}'"
    end = " see" if message.endswith("?") else "; see"
    return f"{message}{end} '{where} --help'"


def of_system(error: OSError) -> str:
    """Return the message for a failure of the system, with the file or stream that it is about.

    Raises:
        OSError: It names no file and is none of the output, or nobody reads the output any more.
    """
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if error.errno in (errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EBADF):
        discard_output()
        return f"cannot write the output: {error.strerror}"
    raise error


def discard_output() -> None:
    """Let what is still to be written to stdout go nowhere, or Python ends with a traceback."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def check_current_folder() -> None:
    """Raise UsageError where the current folder has been removed, which libraries do not survive.

    Raises:
        UsageError: It has.
    """
    try:
        gone = not os.path.isdir(os.getcwd())
    except OSError:
        gone = True
    if gone:
        raise UsageError("the current folder is gone: change to one that is there")


class Overridden(click.Command):
    """A command that takes overrides, which have no dashes."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line.

        Raises:
            UsageError: An option that looks like an override.
        """
        words = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if error.possibilities:
                raise
            place = next(i for i, one in enumerate(words) if one.startswith(error.option_name))
            key, _, value = words[place].lstrip("-").partition("=")
            value = value or " ".join(words[place + 1 : place + 2]) or "VALUE"
            raise click.UsageError(
                f"No such option '{error.option_name}': keys have no dashes, write {key}={value}",
                ctx,
            ) from None


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
            check_current_folder()
            result = super().invoke(ctx)
            sys.stdout.flush()  # a full disk is found here, not when Python ends
            return result


def with_blocks(page: str | None) -> str | None:
    r"""Return a help page in which a line `\b` of a raw docstring is click's mark of a block."""
    return page and page.replace("\\b\n", "\b\n")
