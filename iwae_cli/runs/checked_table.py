"""Tables in which a damaged row is noticed: CSV whose last column is a checksum of the others."""

import csv
import hashlib
import io
import re
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

CHECK = "check"
# Columns of digests, which must not be taken for numbers
DIGESTS = ("identity", "parameters")
LARGEST_BYTES = 200_000_000


class Parsed(NamedTuple):
    """The whole rows of a table, and a line for what was left out, if anything was."""

    table: pd.DataFrame
    fault: str | None


def checksum(header: Sequence[str], cells: Sequence[str]) -> str:
    """Return the checksum of a row's texts; empty cells do not count, so that columns can be added.

    It begins with a letter, so that it is never taken for a number.
    """
    pairs = sorted(f"{name}={cell}" for name, cell in zip(header, cells, strict=True) if cell)
    return "c" + hashlib.sha256("\n".join(pairs).encode()).hexdigest()[:16]


def lines_of(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows, each with its checksum, as lines of a CSV without a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([*row, checksum(header, row)] for row in rows)
    return text.getvalue()


def text_of(table: pd.DataFrame) -> str:
    """Return a table as CSV with checksums."""
    plain = table.drop(columns=CHECK, errors="ignore").to_csv(index=False, lineterminator="\n")
    header, *rows = csv.reader(io.StringIO(plain))
    return ",".join([*header, CHECK]) + "\n" + lines_of(header, rows)


def parsed(content: bytes) -> Parsed:
    """Return the table in a file; a table of an earlier version has no checksums.

    A row that has not as many fields as the header, no line end or another checksum is left out.

    Raises:
        ValueError: It is no table.
    """
    if len(content) > LARGEST_BYTES:
        raise ValueError("too large to be a table of results")
    if content.startswith(b"PK\3\4"):
        raise ValueError("a ZIP, as spreadsheets are, and no CSV")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"no text in UTF-8: byte {error.start} is none") from None
    if "\0" in text or "\r" in text:
        raise ValueError("control characters in a table")
    lines = text.splitlines(keepends=True)
    rows = list(csv.reader(lines, strict=True))
    if len(rows) != len(lines):
        raise ValueError("a quoted field runs over a line end")
    if not rows or not rows[0] or not lines[0].endswith("\n"):
        raise ValueError("no whole header")
    header = rows[0]
    checked = header[-1] == CHECK
    if len({*header}) != len(header) or not checked and looks_checked(rows[1:]):
        raise ValueError("its header is damaged")
    kept, bad = [header], []
    for number, (line, row) in enumerate(zip(lines[1:], rows[1:], strict=True), start=2):
        if len(row) != len(header) or not line.endswith("\n"):
            bad.append(f"half-written: line {number} is incomplete and was left out")
        elif checked and checksum(header[:-1], row[:-1]) != row[-1]:
            bad.append(f"line {number} was changed: its checksum is another; it was left out")
        else:
            kept.append(row)
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(kept)
    texts = {name: str for name in (*DIGESTS, CHECK) if name in header}
    table = pd.read_csv(io.StringIO(out.getvalue()), dtype=texts)
    for name in set(DIGESTS) & set(table):
        table[name] = table[name].fillna("")
    return Parsed(table.drop(columns=CHECK, errors="ignore"), bad[0] if bad else None)


def looks_checked(rows: Sequence[Sequence[str]]) -> bool:
    """Whether some row ends in a checksum."""
    return any(row and re.fullmatch("c[0-9a-f]{16}", row[-1]) for row in rows)
