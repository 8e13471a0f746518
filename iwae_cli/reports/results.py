"""The cells of the results: whatever was run, the published numbers beside it, what is missing."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from iwae_cli.reports import published
from iwae_cli.reports.naming import natural
from iwae_cli.reports.published import Published
from iwae_cli.reports.seeds import NO_RUN, has_result, over_seeds

PLACE = ["protocol", "dataset", "data", "layers", "architecture"]
# Results that are compared with each other
ALIKE = ["protocol", "data", "architecture", "k"]
RESULT = ["nll", "sd", "seeds", "se_images", "se_mc", "active", "active_sd", "eval_k", "images"]
RESULT += [
    "test_images",
    "filled_from",
    "status",
    "runs",
    "paper_nll",
    "paper_active",
    "difference",
]
CELL = [*PLACE, "k", "objective", *RESULT, "best"]
STAGE = [*PLACE, "experiment", "stage", "objective", "k", *RESULT]

Pair = tuple[str, int]


def result_cells(scores: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each model of one stage of training: data, protocol, sizes, k, objective.

    Where the paper has the data set and the architecture, its cells without a run are there too.

    Args:
        scores: `run_tables.scores_table`.

    Returns:
        The cell's place; `nll` (mean over seeds, nats per image), `sd` (over seeds), `seeds`,
        mean standard errors, `active` units and `active_sd` (over seeds, of their sum), with what
        it was evaluated, the published numbers and the difference, `status`: empty, or why there
        is no number, and `best`: no other objective with the same place and k has a lower NLL.
    """
    own = scores[scores["first_objective"] == ""]
    rows = [cell for place, group in own.groupby(PLACE) for cell in cells_at(place, group)]
    cells = pd.DataFrame(rows).reindex(columns=CELL)
    cells["difference"] = cells["nll"] - cells["paper_nll"]
    cells = cells.sort_values("protocol", key=lambda names: names.map(natural), kind="stable")
    cells = cells.reset_index(drop=True)
    return cells.assign(best=best(cells))


def cells_at(place: tuple[Any, ...], scores: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield the cells of one data set, protocol and architecture, in the paper's order."""
    where: Mapping[str, Any] = dict(zip(PLACE, place, strict=True))
    found = [(str(objective), int(k)) for objective, k in scores[["objective", "k"]].to_numpy()]
    for objective, k in sorted({*found, *twins(found), *papers(where)}, key=in_paper_order):
        yield {
            **where,
            "k": k,
            "objective": objective,
            **result(scores, objective, k),
            **against(published_at(where, objective, k)),
        }


def twins(found: Sequence[Pair]) -> list[Pair]:
    """Return VAE and IWAE with k = 1, which are one model, where both objectives were trained."""
    both = {objective for objective, _ in found} >= set(published.OBJECTIVES)
    one = any((name, 1) in found for name in published.OBJECTIVES)
    return [(name, 1) for name in published.OBJECTIVES] if both and one else []


def papers(place: Mapping[str, Any]) -> list[Pair]:
    """Return the paper's cells for a data set and an architecture, none if it has not both."""
    pairs = [(name, k) for name in published.OBJECTIVES for k in published.KS]
    return [pair for pair in pairs if published_at(place, *pair)]


def published_at(place: Mapping[str, Any], objective: str, k: int) -> Published | None:
    """Return the paper's number for this model, if it has one."""
    if place["architecture"] not in map(published.latents_of, published.ARCHITECTURES):
        return None
    return published.published(place["dataset"], place["layers"], objective, k)


def in_paper_order(pair: Pair) -> tuple[int, tuple[int, str]]:
    """Return the sorting key of an (objective, k): by k, then VAE, IWAE, others by name."""
    objective, k = pair
    return k, published.objective_order(objective)


def result(scores: pd.DataFrame, objective: str, k: int) -> dict[str, Any]:
    """Return a cell's result; with k = 1 VAE and IWAE are one model and stand in for each other."""
    own = scores[(scores["objective"] == objective) & (scores["k"] == k)]
    if k == 1 and objective in published.OBJECTIVES and not has_result(own):
        twin = next(name for name in published.OBJECTIVES if name != objective)
        same = scores[(scores["objective"] == twin) & (scores["k"] == 1)]
        if has_result(same):
            return {**over_seeds(same), "filled_from": f"{twin} k=1"}
    return over_seeds(own)


def best(cells: pd.DataFrame) -> pd.Series:
    """Return whether each cell has the lowest NLL, to two decimals, of all with its place and k.

    Nothing is best where there is one objective, all are equal, or estimates are by other L_k.
    """
    found = pd.Series(False, index=cells.index)
    for _, own in cells[cells["nll"].notna()].groupby(ALIKE):
        nlls = own["nll"].round(2)
        if own["eval_k"].nunique() == 1 and nlls.nunique() > 1:
            found[nlls.index[nlls == nlls.min()]] = True
    return found


def against(number: Published | None) -> dict[str, Any]:
    """Return the published columns of a cell."""
    nll, active = number or (float("nan"), "")
    return {"paper_nll": nll, "paper_active": active}


def stage_cells(scores: pd.DataFrame) -> pd.DataFrame:
    """Return two rows, one a stage, for each run that started from another, as in Table 2.

    The columns are those of `result_cells`, and the experiment and its stage.
    """
    children = scores[scores["first_objective"] != ""]
    stages = ["first_objective", "first_k", "objective", "k"]
    rows: list[dict[str, Any]] = []
    for place, group in children.groupby(PLACE):
        for swap, own in group.groupby(stages):
            first = scores[scores["run"].isin(own["parent"])]
            rows += both_stages(place, swap, first, own)
    cells = pd.DataFrame(rows).reindex(columns=STAGE)
    return cells.assign(difference=cells["nll"] - cells["paper_nll"])


def both_stages(
    place: tuple[Any, ...], swap: tuple[Any, ...], first: pd.DataFrame, second: pd.DataFrame
) -> Iterable[dict[str, Any]]:
    """Return the cells of the first and the second stage of one experiment of Table 2."""
    where: Mapping[str, Any] = dict(zip(PLACE, place, strict=True))
    known = None
    if where["architecture"] == published.latents_of(1):
        known = published.swap(where["dataset"], where["layers"], swap[:2], swap[2:])
    theirs = (known.first_result, known.second_result) if known else (None, None)
    experiment = f"{swap[0]} k={swap[1]} -> {swap[2]} k={swap[3]}"
    return [
        {
            **where,
            "experiment": experiment,
            "stage": stage,
            "objective": objective,
            "k": k,
            **over_seeds(runs),
            **against(number),
        }
        for stage, (objective, k), runs, number in zip(
            (1, 2), (swap[:2], swap[2:]), (first, second), theirs, strict=True
        )
    ]


def missing(cells: pd.DataFrame, stages: pd.DataFrame) -> list[str]:
    """Return a line for each reason and group of cells without a number or some seed.

    And one for each data set and architecture of the paper, and swap, of which there is no run.
    """
    lines = []
    for (protocol, data), group in cells.groupby(["protocol", "data"]):
        lacking = group[group["status"] != ""]
        for status, alike in lacking.groupby("status"):
            names = ", ".join(cell_name(row) for row in alike.to_dict("records"))
            lines.append(f"{data} ({protocol}): {names}: {status}")
    for cell in stages[stages["status"] != ""].to_dict("records"):
        where = f"{cell['data']} ({cell['protocol']})"
        status = cell["status"].replace(NO_RUN, "its first stage is not here")
        lines.append(f"{where}: {cell['experiment']} stage {cell['stage']}: {status}")
    return [*lines, *never_run(cells, stages)]


def never_run(cells: pd.DataFrame, stages: pd.DataFrame) -> Iterator[str]:
    """Yield a line for what the paper has and no run is of."""
    trained = set(zip(cells["dataset"], cells["architecture"], strict=True))
    for number, names in published.DATASETS.items():
        for dataset, data in names.items():
            sizes = map(published.latents_of, published.ARCHITECTURES)
            lacking = [latents for latents in sizes if (dataset, latents) not in trained]
            if lacking:
                yield f"Table {number}, {data}: {' and '.join(lacking)} latents: {NO_RUN}"
    own = stages[(stages["dataset"] == "mnist") & (stages["architecture"] == "50")]
    for swap in published.SWAPS:
        experiment = "{} k={} -> {} k={}".format(*swap.first, *swap.second)
        if experiment not in set(own["experiment"]):
            yield f"Table 2, MNIST: {experiment}: {NO_RUN}"


def cell_name(cell: Mapping[str, Any]) -> str:
    """Return a cell as the command line names it."""
    return f"{cell['architecture']} {cell['objective']} k={cell['k']}"
