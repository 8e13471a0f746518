"""The report as one HTML page that needs no other file and no network."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from iwae_cli.reports import formatting
from iwae_cli.reports.labels import NOTHING, number_text

TEMPLATE = "page.html.j2"


@dataclass(frozen=True)
class Table:
    """A table of texts; a click on a heading sorts it by that column."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A PNG, embedded in the page."""

    section: str
    title: str
    png: bytes

    @property
    def uri(self) -> str:
        """The picture as a data URI."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


@dataclass(frozen=True)
class Page:
    """What the page holds, from top to bottom."""

    title: str
    lead: str
    tables: Sequence[Table]
    missing: Sequence[str]
    unreadable: Sequence[str]
    pictures: Sequence[Picture] = field(default_factory=list)

    def sections(self) -> list[tuple[str, list[Picture]]]:
        """Return the pictures by section, in the order in which sections first appear."""
        names = dict.fromkeys(picture.section for picture in self.pictures)
        return [(name, [p for p in self.pictures if p.section == name]) for name in names]


def shown(table: formatting.Table) -> Table:
    """Return a report's table as the page shows it, with bold as markup."""
    frame = table.flat()
    rows = [[bold(text) for text in row] for row in frame.itertuples(index=False)]
    return Table(table.title, [str(name) for name in frame.columns], rows, table.note)


def bold(text: str) -> str:
    """Return a text as HTML, what is between `**` in bold."""
    return Markup(formatting.BOLD.sub(r"<b>\1</b>", str(escape(text))))


def table_of(title: str, frame: pd.DataFrame) -> Table:
    """Return a frame as a table of texts: floats with three decimals, a dash where none is."""
    rows = [[text_of(value) for value in row] for row in frame.itertuples(index=False)]
    return Table(title, [str(name) for name in frame.columns], rows)


def text_of(value: object) -> str:
    """Return a value as a cell shows it."""
    if pd.isna(value) or value == "":
        return NOTHING
    return number_text(value, "z.3f") if isinstance(value, float) else str(value)


def render(page: Page) -> str:
    """Return the page as HTML."""
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(TEMPLATE).render(page=page)
