"""How commands meet the terminal: one-line errors, log lines, bash completion, tables, JSON."""

import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

from iwae_cli.core.errors import IwaeError

Row = Mapping[str, Any]

# The columns of tables: key and heading
TRAINED = {"folder": "run", "passes": "passes", "bound": "bound", "valid_bound": "valid bound"}
EVALUATED = {"split": "split", "images": "images", "estimator": "estimator", "k": "k"}
EVALUATED |= {"nll": "NLL", "bound_kind": "bound", "bias": "bias"}
EVALUATED |= {"se_images": "se (images)", "se_mc": "se (MC)", "share_ess_below_10": "ESS < 10"}
EVALUATED |= {"negative_elbo": "-ELBO", "images_per_second": "images/s"}
GRADIENTS = {"k": "k", "objective": "objective", "network": "network", "mean_norm": "|mean|"}
GRADIENTS |= {"variance": "variance", "snr": "SNR", "bias_norm": "bias", "bias_t": "t"}
GRADIENTS |= {"bias_p": "p"}
FORECAST = {"run": "run", "state": "state", "passes_done": "done", "passes": "passes"}
FORECAST |= {"time_left": "time left", "megabytes": "MB"}
DESCRIBED = {
    "split": "split",
    "images": "images",
    "pixels": "pixels",
    "mean": "mean",
    "min": "min",
    "max": "max",
}


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Report a user's mistake in the block as one line, and exit; the rest keeps its traceback."""
    try:
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


def log_to_stderr() -> None:
    """Send what the package logs, from INFO upwards, to stderr as plain lines."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.INFO)
    logger = logging.getLogger("iwae")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)


def print_json(results: object) -> None:
    """Print results for programs; NaN, which JSON has not, becomes null."""
    standard = json.loads(json.dumps(results), parse_constant=lambda _: None)
    click.echo(json.dumps(standard, indent=2))


def print_table(rows: Sequence[Row], columns: Mapping[str, str], *, title: str = "") -> None:
    """Print those `columns` (key: heading) of the rows that some row has."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = {key: name for key, name in columns.items() if any(key in row for row in rows)}
    table = Table(box=box.SIMPLE_HEAD, title=Text(title) if title else None, title_justify="left")
    for key, name in shown.items():
        numeric = all(isinstance(row.get(key), int | float | None) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(shown_value(row.get(key))) for key in shown))
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def shown_value(value: object) -> str:
    """Return a value as tables show it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value != value:  # NaN
        return "-"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3f}"
    return str(value)


def print_fields(fields: Row) -> None:
    """Print one `name  value` line a field; the fields of a nested mapping have dotted names."""
    flat: dict[str, object] = {}
    for name, value in fields.items():
        nested = value.items() if isinstance(value, Mapping) else ()
        flat |= {f"{name}.{inner}": held for inner, held in nested} or {name: value}
    width = max(map(len, flat))
    for name, value in flat.items():
        click.echo(f"{name:<{width}}  {shown_value(value)}")
