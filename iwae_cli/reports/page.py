"""The report as one HTML page that opens from disk; large pictures and tables lie beside it."""

import base64
from collections.abc import Mapping, Sequence
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
class Section:
    """Tables of one kind under one heading.

    Attributes:
        title: The heading.
        tables: Below it.
        files: Paths of the files with their content, relative to the page.
    """

    title: str
    tables: Sequence[Table]
    files: Sequence[str] = ()

    @property
    def anchor(self) -> str:
        """What the contents link to."""
        return formatting.slug(self.title)


@dataclass(frozen=True)
class Picture:
    """A figure: a small picture in the page, its files beside the page.

    Attributes:
        section: Under which heading it stands.
        title: What it shows.
        preview: A WebP or PNG image.
        files: Paths relative to the page, by format.
        run: The name of the run that it shows alone, or empty.
    """

    section: str
    title: str
    preview: bytes
    files: Mapping[str, str] = field(default_factory=dict)
    run: str = ""

    @property
    def uri(self) -> str:
        """The small picture as a data URI."""
        kind = "png" if self.preview.startswith(b"\x89PNG") else "webp"
        return f"data:image/{kind};base64," + base64.b64encode(self.preview).decode()

    @property
    def large(self) -> str:
        """The file that a browser shows in place of the small picture, or empty."""
        return next((self.files[kind] for kind in ("svg", "png") if kind in self.files), "")


@dataclass(frozen=True)
class Gallery:
    """Pictures under one heading."""

    title: str
    pictures: Sequence[Picture]

    @property
    def anchor(self) -> str:
        """What the contents link to."""
        return formatting.slug("figures", self.title)


@dataclass(frozen=True)
class Page:
    """What the page holds, from top to bottom."""

    title: str
    lead: str
    sections: Sequence[Section]
    missing: Sequence[str]
    unreadable: Sequence[str]
    duplicates: Sequence[str] = ()
    made: str = ""
    pictures: Sequence[Picture] = field(default_factory=list)

    def galleries(self) -> list[Gallery]:
        """Return the pictures of several runs by section, in the order of their first."""
        shared = [picture for picture in self.pictures if not picture.run]
        names = dict.fromkeys(picture.section for picture in shared)
        return [Gallery(name, [p for p in shared if p.section == name]) for name in names]

    def of_runs(self) -> dict[tuple[str, str], list[Picture]]:
        """Return the pictures of one run each, by the run's name and what it is."""
        runs: dict[tuple[str, str], list[Picture]] = {}
        for picture in self.pictures:
            if picture.run:
                runs.setdefault((picture.run, picture.section), []).append(picture)
        return runs


def shown(table: formatting.Table) -> Table:
    """Return a report's table as the page shows it, with bold as markup."""
    frame = table.flat()
    rows = [[bold(text) for text in row] for row in frame.itertuples(index=False)]
    return Table(table.title, [str(name) for name in frame.columns], rows, table.note)


def bold(text: str) -> str:
    """Return a text as HTML, what is between `**` in bold."""
    return Markup(formatting.BOLD.sub(r"<b>\1</b>", str(escape(text))))


def link(text: str, path: str) -> str:
    """Return a link as HTML."""
    return Markup('<a href="{}">{}</a>').format(path, text)


def table_of(title: str, frame: pd.DataFrame, note: str = "") -> Table:
    """Return a frame as a table of texts: floats with three decimals, a dash where none is."""
    rows = [[text_of(value) for value in row] for row in frame.itertuples(index=False)]
    return Table(title, [str(name) for name in frame.columns], rows, note)


def text_of(value: object) -> str:
    """Return a value as a cell shows it; markup stays markup."""
    if pd.isna(value) or value == "":
        return NOTHING
    if isinstance(value, Markup):
        return value
    return number_text(value, "z.3f") if isinstance(value, float) else str(value)


def render(page: Page) -> str:
    """Return the page as HTML."""
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(TEMPLATE).render(page=page)
