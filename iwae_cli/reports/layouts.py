"""Results laid out as tables: a row a k or an objective, what all cells have in the note."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from iwae_cli.reports import published
from iwae_cli.reports.formatting import Table, slug
from iwae_cli.reports.labels import NOTHING, model_label, number_text, objective_label
from iwae_cli.reports.seeds import NO_RUN

# More objectives than these stand below each other
ACROSS = 4
PAPER = "Paper: Burda, Grosse and Salakhutdinov 2015, {}."
TWINS = "*: VAE and IWAE with k = 1 are one model, trained once."
BOLD = "Bold: the lowest NLL of the objectives with one k, trained alike."
HEADINGS = {"protocol": "training", "architecture": "latents", "k": "k", "objective": "objective"}


@dataclass(frozen=True)
class Common:
    """What all numbers of a table have in common; None where they differ.

    Attributes:
        seeds: How many.
        eval_k: k of the L_k by which they are.
        images: On how many.
        test_images: Of how many.
    """

    seeds: int | None
    eval_k: str | None
    images: str | None
    test_images: str | None


def common(cells: pd.DataFrame) -> Common:
    """Return what all cells with a number have in common."""
    known = cells[cells["nll"].notna()]

    def only(column: str) -> Any:  # noqa: ANN401  (a cell)
        values = known[column].unique()
        return values[0] if len(values) == 1 else None

    seeds = only("seeds")
    others = (only(column) for column in ("eval_k", "images", "test_images"))
    return Common(None if seeds is None else int(seeds), *others)


def result_tables(cells: pd.DataFrame) -> list[Table]:
    """Return the results, a table for each data set.

    Rows are objectives where there are many or only one k, else k; what the cells have in common
    is in the note. Rows and columns without any run are left out.

    Args:
        cells: `results.result_cells`.
    """
    tables = []
    for data, group in cells.groupby("data", sort=False):
        own = with_runs(group)
        if not len(own):
            continue
        across, down = ("objective", "k") if objectives_across(own) else ("k", "objective")
        own = own.assign(objective=own["objective"].map(objective_label))
        index = [name for name in ("protocol", "architecture") if own[name].nunique() > 1]
        columns = {}
        place = own.set_index([*index, down])
        place.index.names = [HEADINGS[name] for name in [*index, down]]
        for value in dict.fromkeys(own[across]):
            heading = f"k = {value}" if across == "k" else value
            part = place[place[across] == value]
            for what, texts in cell_columns(part, common(own)).items():
                columns[heading, what] = pd.Series(texts, index=part.index)
        order = pd.Index(dict.fromkeys(place.index), name=place.index.name)
        frame = pd.DataFrame(columns).reindex(order).fillna(NOTHING)
        frame.index.names = place.index.names
        tables.append(table_of("Results", str(data), own, narrowed(frame)))
    return tables


def with_runs(cells: pd.DataFrame) -> pd.DataFrame:
    """Return cells whose row, of one place and k, and objective some run is of."""
    run = cells["status"] != NO_RUN
    rows = ["protocol", "architecture", "k"]
    kept = run.groupby([cells[name] for name in rows]).transform("any")
    return cells[kept & run.groupby(cells["objective"]).transform("any")]


def objectives_across(cells: pd.DataFrame) -> bool:
    """Whether objectives are the columns: few, and of more than one k."""
    objectives, ks = cells["objective"].nunique(), cells["k"].nunique()
    return bool(objectives == 1 or (ks > 1 and objectives <= max(ACROSS, ks)))


def narrowed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with one level of columns where the second says nothing."""
    if set(frame.columns.get_level_values(1)) != {""}:
        return frame
    return frame.set_axis(frame.columns.get_level_values(0), axis=1)


def cell_columns(cells: pd.DataFrame, shared: Common) -> dict[str, list[str]]:
    """Return the texts of some cells: ours, and the paper's if it has any."""
    records = cells.to_dict("records")
    texts = [our_text(cell, shared) for cell in records]
    if not cells["paper_nll"].notna().any():
        return {"": texts}
    return {
        "ours": texts,
        "paper": [nll_text(c["paper_nll"], c["paper_active"]) for c in records],
    }


def our_text(cell: Mapping[str, Any], shared: Common) -> str:
    """Return our result as the tables show it: `**84.15** ± 0.22 (24)`."""
    if not cell["seeds"]:
        return NOTHING
    if cell["seeds"] > 1:
        n = "" if shared.seeds else f", n={cell['seeds']}"
        spread = f" ± {cell['sd']:.2f}{n}"
    else:
        spread = f" ± {cell['se_images']:.2f}" if cell["se_images"] == cell["se_images"] else ""
    text = nll_text(cell["nll"], cell["active"], spread, bold=cell.get("best") is True)
    if shared.eval_k is None:
        text += f" [k={cell['eval_k']}]"
    return text + ("*" if cell["filled_from"] else "")


def nll_text(nll: float, active: str, spread: str = "", *, bold: bool = False) -> str:
    """Return `86.76 (19)`, or a dash."""
    if nll != nll:
        return NOTHING
    number = number_text(nll)
    return (f"**{number}**" if bold else number) + spread + (f" ({active})" if active else "")


def stage_tables(cells: pd.DataFrame) -> list[Table]:
    """Return training continued with another objective, as in Table 2, a table for each data set.

    Args:
        cells: `results.stage_cells`.
    """
    tables = []
    for data, own in cells.groupby("data", sort=False):
        index = [name for name in ("protocol", "architecture") if own[name].nunique() > 1]
        numbers = own.groupby([*index, "experiment"], sort=False).ngroup()
        rows: dict[int, dict[tuple[str, str], str]] = {}
        for stage, name in ((1, "first stage"), (2, "second stage")):
            part = own[own["stage"] == stage]
            texts = {"objective": [model_label(cell) for cell in part.to_dict("records")]}
            named = {what or "NLL": t for what, t in cell_columns(part, common(own)).items()}
            for what, column in (texts | named).items():
                for number, text in zip(numbers[part.index], column, strict=True):
                    rows.setdefault(number, {})[name, what] = text
        places = own[own["stage"] == 1][index].set_axis(numbers[own["stage"] == 1])
        frame = pd.DataFrame(rows.values(), index=list(rows)).fillna(NOTHING)
        frame.columns = pd.MultiIndex.from_tuples(frame.columns)
        for level, name in enumerate(index):
            frame.insert(level, (HEADINGS[name], ""), places[name])
        title = "Training continued with another objective"
        tables.append(table_of(title, str(data), own, frame.reset_index(drop=True)))
    return tables


def table_of(title: str, data: str, cells: pd.DataFrame, frame: pd.DataFrame) -> Table:
    """Return a table of one data set with the note of its cells."""
    return Table(f"{title}: {data}", note_of(cells), frame, slug(title.split()[0], data))


def note_of(cells: pd.DataFrame) -> str:
    """Return what all cells with a number have in common, and what their signs mean."""
    shared = common(cells)
    by = f"L_{shared.eval_k}" if shared.eval_k else "L_k, k in square brackets,"
    some = shared.images != shared.test_images
    of = f"{shared.images} of the" if some else "all"
    images = f"{of} {shared.test_images} test images" if shared.test_images else "test images"
    sentences = [f"Test NLL in nats per image by {by} on {images}, {spread_note(shared)}"]
    if (cells["active"] != "").any():
        sentences[0] += "; in brackets the active units of each layer"
    sentences[0] += "."
    alike = {HEADINGS[n]: cells[n].iloc[0] for n in HEADINGS if n in cells and one(cells, n)}
    if "latents" in alike:
        sentences.append(f"Latent units: {alike['latents']}.")
    if "training" in alike:
        sentences.append(f"Training: {alike['training']}.")
    if "best" in cells and cells["best"].any():
        sentences.append(BOLD)
    if cells["paper_nll"].notna().any():
        sentences.append(PAPER.format(paper_table(cells)))
    if (cells["filled_from"] != "").any():
        sentences.append(TWINS)
    return " ".join(sentences)


def one(cells: pd.DataFrame, column: str) -> bool:
    """Whether a column has one value."""
    return bool(cells[column].nunique() == 1)


def spread_note(shared: Common) -> str:
    """Return what stands behind ±, and n where it is the same everywhere."""
    if shared.seeds == 1:
        return "one seed, ± standard error over images"
    if shared.seeds:
        return f"mean ± standard deviation over n = {shared.seeds} seeds"
    return (
        "mean ± standard deviation over n seeds or, where no n stands, one seed ± standard error "
        "over images"
    )


def paper_table(cells: pd.DataFrame) -> str:
    """Return which of the paper's tables has numbers of these cells."""
    if "stage" in cells:
        return "Table 2"
    dataset = cells["dataset"].iloc[0]
    return next(f"Table {n}" for n, names in published.DATASETS.items() if dataset in names)
