"""What commands print: tables, JSON, log lines, files that could not be read."""

import contextlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from iwae_cli.core.errors import ReportError

if TYPE_CHECKING:
    from rich.table import Table

    from iwae_cli.reports.read_runs import Unreadable


Row = Mapping[str, Any]
WIDEST = 10_000  # columns of a table that nobody looks at


def log_to_stderr() -> None:
    """Send what the package logs, from INFO upwards, to stderr as plain lines."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.INFO)
    logger = logging.getLogger("iwae")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)


def say(line: str) -> None:
    """Write a line to stderr, where it can be written."""
    with contextlib.suppress(OSError):
        click.echo(line, err=True)


def print_json(results: object) -> None:
    """Print results for programs; NaN, which JSON has not, becomes null."""
    standard = json.loads(json.dumps(results), parse_constant=lambda _: None)
    click.echo(json.dumps(standard, indent=2))


def print_table(
    rows: Sequence[Row],
    columns: Mapping[str, str],
    *,
    title: str = "",
    spare: Sequence[str] = (),
) -> None:
    """Print those `columns` (key: heading) of the rows that some row has.

    No cell is broken: where the terminal is too narrow, the `spare` columns are left out one after
    another, and then each row is printed as a block of keys and values.
    """
    from rich.console import Console

    columns = {key: name for key, name in columns.items() if any(key in row for row in rows)}
    console, limit, kept = Console(width=WIDEST), line_width(), dict(columns)
    for key in spare:
        if console.measure(grid(rows, kept)).maximum > limit:
            kept.pop(key, None)
    table = grid(rows, kept)
    width = console.measure(table).maximum
    if title:
        click.echo(title)
    if width <= limit:
        Console(width=width).print(table)
        return
    for row in rows:
        print_fields({name: row.get(key) for key, name in columns.items()})
        click.echo()


def line_width() -> int:
    """Return the columns of the terminal, or of COLUMNS; any number where nobody looks."""
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return shutil.get_terminal_size().columns
    return WIDEST


def grid(rows: Sequence[Row], columns: Mapping[str, str]) -> "Table":
    """Return a table in which no cell is broken."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for key, name in columns.items():
        numeric = all(isinstance(row.get(key), int | float | None) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(shown_value(row.get(key))) for key in columns))
    return table


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


def print_results(results: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    """Print what was written for each run."""
    if as_json:
        print_json(results)
        return
    for result in results:
        print_fields(result)


def fail_if_unreadable(unreadable: Sequence["Unreadable"]) -> None:
    """Name each file that could not be read on stderr.

    Raises:
        ReportError: There is one.
    """
    for path, reason in unreadable:
        say(f"not read: {path}: {reason}")
    if unreadable:
        files = "1 file" if len(unreadable) == 1 else f"{len(unreadable)} files"
        raise ReportError(f"{files} could not be read; the rest is above")
