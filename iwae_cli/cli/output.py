"""What commands print: tables, JSON, log lines, files that could not be read."""

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from iwae_cli.core.errors import ReportError

if TYPE_CHECKING:
    from iwae_cli.reports.read_runs import Unreadable


Row = Mapping[str, Any]


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
        click.echo(f"not read: {path}: {reason}", err=True)
    if unreadable:
        files = "1 file" if len(unreadable) == 1 else f"{len(unreadable)} files"
        raise ReportError(f"{files} could not be read; the rest is above")
