"""Cells laid out as in the paper, as Markdown and LaTeX."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from iwae_cli.reports.claims import TITLE as CLAIMS_TITLE
from iwae_cli.reports.run_tables import PREFERRED_K

TITLES = {
    1: "Table 1: Test NLL and active units",
    2: "Table 2: Training continued with another objective",
    3: "Table 3: Test NLL and active units with fixed binarisation",
}
NOTE = (
    f"Nats per image by L_{PREFERRED_K} on all test images unless a cell names another k; mean ± "
    "standard deviation over n seeds or, where no n stands, one seed ± standard error over images; "
    "active units of each layer in brackets. Difference: ours minus the paper's. *: VAE and IWAE "
    "with k = 1 are one model, trained once."
)
NOTHING = "–"
CLAIM_COLUMNS = {"data": "data", "protocol": "protocol", "architecture": "latents"}
CLAIM_COLUMNS |= {"model": "model", "paper": "paper", "ours": "ours", "holds": "holds"}


def laid_out(number: int, cells: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return a table as the paper has it for each protocol, by the protocol's name.

    Columns are (data set or stage, objective, what) where the paper has no number, `paper` and
    `difference` are left out. Protocols without a name are of cells that have no run at all; they
    are shown where there is nothing else.
    """
    named = [name for name in cells["protocol"].unique() if name] or [""]
    tables = {}
    for name in named:
        own = cells[cells["protocol"] == name]
        tables[name] = swap_layout(own) if number == 2 else grid_layout(own)
    return tables


def grid_layout(cells: pd.DataFrame) -> pd.DataFrame:
    """Return Table 1 or 3: rows layers x k, columns data set x objective."""
    usual = cells.groupby("layers")["architecture"].nunique().max() == 1
    index = ["layers", "k"] if usual else ["layers", "architecture", "k"]
    columns = {}
    for (data, objective), own in cells.groupby(["data", "objective"], sort=False):
        for what, texts in cell_columns(own).items():
            values = pd.Series(list(texts), index=pd.MultiIndex.from_frame(own[index]))
            columns[data, objective.upper(), what] = values
    return pd.DataFrame(columns).fillna(NOTHING)


def swap_layout(cells: pd.DataFrame) -> pd.DataFrame:
    """Return Table 2: a row for each experiment, columns stage x (objective, NLL)."""
    index = ["data", "architecture", "experiment"]
    columns = {}
    compare = bool(cells["paper_nll"].notna().any())
    for stage, name in ((1, "first stage"), (2, "second stage")):
        own = cells[cells["stage"] == stage]
        where = pd.MultiIndex.from_frame(own[index])
        objective = [f"{o.upper()} k={k}" for o, k in zip(own["objective"], own["k"], strict=True)]
        columns[name, "objective"] = pd.Series(objective, index=where)
        for what, texts in cell_columns(own, compare=compare).items():
            columns[name, what] = pd.Series(list(texts), index=where)
    return pd.DataFrame(columns).droplevel("experiment")


def cell_columns(cells: pd.DataFrame, *, compare: bool | None = None) -> dict[str, list[str]]:
    """Return the texts of some cells: ours, and the paper's with the difference if it has any."""
    records = cells.to_dict("records")
    columns = {"ours": [our_text(cell) for cell in records]}
    if compare is None:
        compare = bool(cells["paper_nll"].notna().any())
    if compare:
        columns["paper"] = [nll_text(c["paper_nll"], c["paper_active"]) for c in records]
        columns["difference"] = [number_text(c["difference"], "+.2f") for c in records]
    return columns


def our_text(cell: Mapping[str, Any]) -> str:
    """Return our result as the tables show it."""
    if not cell["seeds"]:
        return NOTHING
    if cell["seeds"] > 1:
        spread = f" ± {cell['sd']:.2f}, n={cell['seeds']}"
    else:
        spread = f" ± {cell['se_images']:.2f}" if cell["se_images"] == cell["se_images"] else ""
    text = nll_text(cell["nll"], cell["active"], spread)
    if cell["eval_k"] != str(PREFERRED_K):
        text += f" [k={cell['eval_k']}]"
    return text + ("*" if cell["filled_from"] else "")


def nll_text(nll: float, active: str, spread: str = "") -> str:
    """Return `86.76 (19)`, or a dash."""
    return number_text(nll) + (spread + (f" ({active})" if active else "") if nll == nll else "")


def number_text(number: float, form: str = ".2f") -> str:
    """Return a number, or a dash for NaN."""
    return format(number, form) if number == number else NOTHING


def title(number: int, data: str, protocol: str) -> str:
    """Return the title of a layout, or of the part of it that belongs to one data set."""
    return f"{TITLES[number]}{f', {data}' if data else ''}{f' ({protocol})' if protocol else ''}"


def by_data(number: int, table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return a layout cut into narrow ones by data set, each with the data set's name."""
    if number == 2:
        return {"": table}
    names = dict.fromkeys(table.columns.get_level_values(0))
    return {name: table[name] for name in names}


def flat(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with its index as columns and one row of headings."""
    own = table.copy()
    own.columns = pd.Index([" ".join(name) for name in table.columns])
    return own.reset_index()


def markdown(number: int, tables: Mapping[str, pd.DataFrame]) -> str:
    """Return the layouts of one table as a Markdown file."""
    parts = [f"# {TITLES[number]}"]
    for protocol, table in tables.items():
        parts += [f"## {protocol}"] if protocol else []
        parts.append(flat(table).to_markdown(index=False, disable_numparse=True))
    return "\n\n".join([*parts, NOTE]) + "\n"


def latex(number: int, tables: Mapping[str, pd.DataFrame]) -> str:
    """Return the layouts of one table as LaTeX, one for each data set, for booktabs, multirow."""
    return "\n".join(
        as_latex(part, title(number, data, protocol).partition(": ")[2])
        for protocol, table in tables.items()
        for data, part in by_data(number, table).items()
    )


def as_latex(table: pd.DataFrame, caption: str, *, index: bool = True) -> str:
    """Return one table as LaTeX."""
    style = table.style.format(escape="latex")
    style = style.format_index(escape="latex", axis=0).format_index(escape="latex", axis=1)
    if not index:
        style = style.hide(axis="index")
    options = {"hrules": True, "multicol_align": "c", "position": "htbp"}
    return str(style.to_latex(caption=caption.replace("_", r"\_"), **options))


def claims_shown(claims: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of each claim as they are shown, by the claim and what is compared."""
    return {
        f"{text} ({compared})": own[list(CLAIM_COLUMNS)]
        .rename(columns=CLAIM_COLUMNS)
        .replace("", NOTHING)
        for (text, compared), own in claims.groupby(["claim", "compared"], sort=False)
    }


def claims_markdown(claims: pd.DataFrame) -> str:
    """Return the claims as a Markdown file, a table each."""
    parts = [f"# {CLAIMS_TITLE}"]
    for claim, table in claims_shown(claims).items():
        parts += [claim, table.to_markdown(index=False, disable_numparse=True)]
    return "\n\n".join(parts) + "\n"


def claims_latex(claims: pd.DataFrame) -> str:
    """Return the claims as LaTeX, a table each."""
    shown = claims_shown(claims)
    return "\n".join(as_latex(table, claim, index=False) for claim, table in shown.items())
