"""The cells of the paper's tables: ours, the published ones, and what is missing."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from iwae_cli.reports import published
from iwae_cli.reports.published import Published

TABLES = (1, 2, 3)
NO_RUN = "no run"
NO_DATA = "no run of this data set"
# Models with two latent units are trained to be looked at, not to be scored.
PICTURED = r"(?:.*\+)?2(?:,.*)?"
PLACE = ["protocol", "dataset", "data"]
ARCHITECTURE = ["layers", "architecture"]


def cells_of(number: int, scores: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each cell of Table 1, 2 or 3, in the paper's order.

    Args:
        number: 1: every data set but fixed MNIST; 2: runs that started from another; 3: fixed
            MNIST.
        scores: `run_tables.scores_table`.

    Returns:
        The cell's place; `nll` (mean over seeds, nats per image), `sd` (over seeds), `seeds`,
        mean standard errors, `active` units, with what it was evaluated, the published numbers
        and the difference, and `status`: empty, or why there is no number.
    """
    stage_two = scores["first_objective"] != ""
    if number == 2:
        return with_differences(pd.DataFrame(swap_cells(scores, scores[stage_two])))
    fixed = scores["dataset"].isin(published.DATASETS[3])
    pictured = scores["architecture"].str.fullmatch(PICTURED)
    own = scores[~stage_two & ~pictured & (fixed if number == 3 else ~fixed)]
    rows = [cell for place, group in own.groupby(PLACE) for cell in grid_cells(place, group)]
    for dataset, data in published.DATASETS[number].items():
        if dataset not in set(own["dataset"]):
            rows += list(grid_cells(("", dataset, data), own.iloc[:0], absent=NO_DATA))
    return with_differences(pd.DataFrame(rows))


def grid_cells(
    place: tuple[str, str, str], scores: pd.DataFrame, *, absent: str = NO_RUN
) -> Iterable[dict[str, Any]]:
    """Yield the cells of one data set and protocol: layers x k x objective, and others found."""
    found = {tuple(row) for row in scores[ARCHITECTURE].to_numpy()}
    trained = {layers for layers, _ in found}
    usual = {(layers, published.latents_of(layers)) for layers in (1, 2) if layers not in trained}
    standard = {(objective, k) for objective in published.OBJECTIVES for k in published.KS}
    for layers, architecture in sorted(found | usual):
        own = scores[scores["architecture"] == architecture]
        others = {tuple(row) for row in own[["objective", "k"]].to_numpy()} - standard
        for objective, k in sorted(standard | others, key=in_paper_order):
            yield {
                **dict(zip(PLACE, place, strict=True)),
                "layers": layers,
                "architecture": architecture,
                "k": k,
                "objective": objective,
                **result(own, objective, k, absent=absent),
                **against(
                    published.published(place[1], layers, objective, k)
                    if architecture == published.latents_of(layers)
                    else None
                ),
            }


def in_paper_order(column: tuple[str, int]) -> tuple[int, tuple[int, str]]:
    """Return the sorting key of an (objective, k): by k, then VAE, IWAE, others by name."""
    objective, k = column
    return k, published.objective_order(objective)


def result(scores: pd.DataFrame, objective: str, k: int, *, absent: str) -> dict[str, Any]:
    """Return a cell's result; with k = 1 VAE and IWAE are one model and stand in for each other."""
    own = scores[(scores["objective"] == objective) & (scores["k"] == k)]
    if k == 1 and objective in published.OBJECTIVES and not has_result(own):
        twin = next(name for name in published.OBJECTIVES if name != objective)
        same = scores[(scores["objective"] == twin) & (scores["k"] == 1)]
        if has_result(same):
            return {**over_seeds(same), "filled_from": f"{twin} k=1"}
    return over_seeds(own, absent=absent)


def has_result(scores: pd.DataFrame) -> bool:
    """Whether some run has been scored."""
    return bool((scores["status"] == "").any())


def over_seeds(scores: pd.DataFrame, *, absent: str = NO_RUN) -> dict[str, Any]:
    """Return mean and standard deviation over seeds, and what is missing."""
    scored = scores[scores["status"] == ""].drop_duplicates("seed", keep="last")
    waiting = scores[(scores["status"] != "") & ~scores["seed"].isin(scored["seed"])]
    reasons = [
        f"seed {seed} {status}"
        for seed, status in waiting[["seed", "status"]].itertuples(index=False)
    ]
    return {
        "nll": scored["eval_nll"].mean() if len(scored) else float("nan"),
        "sd": scored["eval_nll"].std() if len(scored) > 1 else float("nan"),
        "seeds": len(scored),
        "se_images": scored["eval_se_images"].mean() if len(scored) else float("nan"),
        "se_mc": scored["eval_se_mc"].mean() if len(scored) else float("nan"),
        "active": mean_active(scored["active"]),
        "eval_k": each_once(scored["eval_k"]),
        "images": each_once(scored["eval_images"]),
        "filled_from": "",
        "status": "; ".join(reasons) if len(scores) else absent,
        "runs": " ".join(scored["run"]),
    }


def each_once(values: pd.Series) -> str:
    """Return whole numbers without repetition, such as `5000`."""
    return ", ".join(str(int(value)) for value in sorted(set(values)))


def mean_active(counts: Iterable[str]) -> str:
    """Return the mean number of active units a layer over runs, such as `26+7` or `25.5+7`."""
    split = [[int(layer) for layer in count.split("+")] for count in counts if count]
    means = (sum(layer) / len(layer) for layer in zip(*split, strict=True))
    return "+".join(f"{mean:.1f}".removesuffix(".0") for mean in means)


def against(published: Published | None) -> dict[str, Any]:
    """Return the published columns of a cell."""
    nll, active = published or (float("nan"), "")
    return {"paper_nll": nll, "paper_active": active}


def swap_cells(scores: pd.DataFrame, children: pd.DataFrame) -> list[dict[str, Any]]:
    """Return two cells, one a stage, for each experiment of Table 2."""
    stages = ["first_objective", "first_k", "objective", "k"]
    usual = [(*row.first, *row.second) for row in published.SWAPS]
    rows = []
    for place, group in children.groupby(PLACE + ARCHITECTURE):
        found = [tuple(row) for row in group[stages].drop_duplicates().to_numpy()]
        for swap in [*usual, *sorted(set(found) - set(usual))]:
            own = group[(group[stages] == pd.Series(swap, index=stages)).all(axis=1)]
            first = scores[scores["run"].isin(own["parent"])]
            rows += both_stages(place, swap, first, own)
    if children.empty:
        place = ("", "mnist", "MNIST", 1, published.latents_of(1))
        for swap in usual:
            rows += both_stages(place, swap, children, children)
    return rows


def both_stages(
    place: tuple[Any, ...], swap: tuple[Any, ...], first: pd.DataFrame, second: pd.DataFrame
) -> list[dict[str, Any]]:
    """Return the cells of the first and the second stage of one experiment of Table 2."""
    where: Mapping[str, Any] = dict(zip(PLACE + ARCHITECTURE, place, strict=True))
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


def with_differences(cells: pd.DataFrame) -> pd.DataFrame:
    """Return cells with `difference`: our NLL minus the published one, nats per image."""
    return cells.assign(difference=cells["nll"] - cells["paper_nll"])


def missing(number: int, cells: pd.DataFrame) -> list[str]:
    """Return one line for each reason and group of cells that lack a number or some seed."""
    lines = []
    for (protocol, data), group in cells.groupby(["protocol", "data"]):
        where = f"Table {number}, {data}" + (f" ({protocol})" if protocol else "")
        lacking = group[group["status"] != ""]
        if len(lacking) == len(group) and lacking["status"].nunique() == 1:
            lines.append(f"{where}: all {len(group)} cells: {lacking['status'].iloc[0]}")
            continue
        for status, alike in lacking.groupby("status"):
            names = ", ".join(cell_name(row) for row in alike.to_dict("records"))
            lines.append(f"{where}: {names}: {status}")
    return lines


def cell_name(cell: Mapping[str, Any]) -> str:
    """Return a cell as a reader would call it."""
    if "stage" in cell:
        return f"{cell['experiment']} stage {cell['stage']}"
    return f"{cell['architecture']} {cell['objective']} k={cell['k']}"
