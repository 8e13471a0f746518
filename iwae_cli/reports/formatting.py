"""Tables of texts as Markdown, LaTeX, and plain rows."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

BOLD = re.compile(r"\*\*(.+?)\*\*")
# Characters on a line of LaTeX's article; what is wider is made smaller
LINE = 78
SCALED = "\\resizebox{\\linewidth}{!}{%\n", "}"
GAP = "\\setlength{\\belowcaptionskip}{6pt}\n"
TEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_"}
TEX |= {"{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
TEX |= {"±": r"$\pm$", "–": "--", "−": "$-$", "α": r"$\alpha$", "<": "$<$", ">": "$>$"}
TEX |= {"->": r"$\rightarrow$"}
# Longer keys first, so that -> is one sign
SIGNS = re.compile("|".join(map(re.escape, sorted(TEX, key=len, reverse=True))))


@dataclass(frozen=True)
class Table:
    """A table as it is shown.

    Attributes:
        title: What it is.
        note: What holds for all of its cells, sentences.
        frame: Texts, bold between `**`. The index, where its levels have names, is the columns of
            headings on the left; columns may have two levels, of which the second may be empty.
        label: What LaTeX refers to it by.
    """

    title: str
    note: str
    frame: pd.DataFrame
    label: str

    @property
    def headed(self) -> bool:
        """Whether the index is shown."""
        return list(self.frame.index.names) != [None]

    def flat(self) -> pd.DataFrame:
        """Return its texts with the index as columns and one row of headings."""
        own = self.frame.copy()
        if own.columns.nlevels > 1:
            own.columns = pd.Index([" ".join(filter(None, name)) for name in own.columns])
        return (own.reset_index() if self.headed else own).astype(str)

    def plain(self) -> pd.DataFrame:
        """Return `flat` without signs for bold."""
        return self.flat().map(plain_text)


def plain_text(text: str) -> str:
    """Return a text without signs for bold."""
    return BOLD.sub(r"\1", text)


def slug(*parts: object) -> str:
    """Return parts as a name of lower-case letters, digits, points and hyphens."""
    return re.sub(r"[^a-z0-9.]+", "-", " ".join(map(str, parts)).lower()).strip("-")


def markdown(tables: Sequence[Table]) -> str:
    """Return tables as a Markdown file."""
    parts = []
    for table in tables:
        text = table.flat().to_markdown(index=False, disable_numparse=True)
        parts += [f"## {table.title}", text, *([table.note] if table.note else [])]
    return "\n\n".join(parts) + "\n"


def latex(tables: Sequence[Table]) -> str:
    """Return tables as LaTeX that compiles with the packages that its first line names."""
    text = "\n".join(as_latex(table) for table in tables)
    packages = "booktabs, graphicx" if SCALED[0] in text else "booktabs"
    return f"% Needs \\usepackage{{{packages}}} in the preamble.\n{text}"


def as_latex(table: Table) -> str:
    """Return one table as LaTeX, with caption and label, centred, as wide as a line at the most."""
    frame = table.frame.reset_index() if table.headed else table.frame
    headings = table.frame.index.nlevels - 1 if table.headed else 0
    texts = frame.astype(str).map(tex_text)
    for column in reversed(range(headings)):
        texts.isetitem(column, once(texts.iloc[:, : column + 1]))
    style = texts.style.format_index(tex_text, axis=1).hide(axis="index")
    text = str(
        style.to_latex(
            caption=tex_text(". ".join(filter(None, [table.title, table.note]))),
            label=f"tab:{table.label}",
            column_format="l" * len(texts.columns),
            position="htbp",
            position_float="centering",
            hrules=True,
            multicol_align="c",
        )
    ).replace("\\centering\n", "\\centering\n" + GAP)
    if characters(table.plain()) <= LINE:
        return text
    begin, end = r"\begin{tabular}", r"\end{tabular}"
    return text.replace(begin, SCALED[0] + begin).replace(end, end + SCALED[1])


def characters(frame: pd.DataFrame) -> int:
    """Return about how many characters wide a frame of texts is."""
    widths = [max(map(len, [str(name).split()[-1], *frame[name]])) + 2 for name in frame]
    return sum(widths)


def once(headings: pd.DataFrame) -> list[str]:
    """Return the last column of headings, empty where the row above has the same headings."""
    rows = list(headings.itertuples(index=False, name=None))
    before = [None, *rows]
    return ["" if row == above else row[-1] for row, above in zip(rows, before, strict=False)]


def tex_text(text: object) -> str:
    """Return a text as LaTeX: bold, signs, and L_5000 as a formula."""
    parts = re.split(r"\bL_(\d+|k)\b", BOLD.sub("\0\\1\1", str(text)))
    for place, part in enumerate(parts):
        of_text = SIGNS.sub(lambda sign: TEX[sign[0]], part)
        parts[place] = f"$L_{{{part}}}$" if place % 2 else of_text
    joined = re.sub(r"(?<!\w)-(?=\d)", "$-$", "".join(parts))
    return joined.replace("\0", r"\textbf{").replace("\1", "}")
