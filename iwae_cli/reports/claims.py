"""The paper's claims beside its tables: what it says, its number, ours, and whether it holds."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from iwae_cli.reports import published
from iwae_cli.reports.paper_tables import PICTURED, in_paper_order
from iwae_cli.reports.run_record import RunRecord
from iwae_cli.runs.eval_csv import by_l_k

TITLE = "The paper's other claims"


class Claim(NamedTuple):
    """What the paper says, in our words, and what is compared to see whether it holds."""

    text: str
    compared: str


INACTIVE = Claim(
    "Units that are not active can be removed: test NLL changes by less than 0.06 nats",
    "test NLL without them minus test NLL",
)
OVERFITTING = Claim(
    "The bound of training images exceeds that of test images by 0.62 to 0.79 nats on MNIST, 2.39 "
    "to 2.65 on OMNIGLOT",
    "mean bound of the last training pass minus that of the test images: the ELBO for VAE and k=1, "
    "else L_k of the same k",
)
LITTLE_GAIN = Claim(
    "More samples improve IWAE, but the VAE only little",
    "test NLL with k=1 minus that with the larger k; holds if VAE gains less than half of IWAE's",
)
SWAP = Claim(
    "The objective, not the optimiser, decides how many units are active",
    "active units after both stages; holds if they move towards those of the second objective "
    "from the start",
)

COLUMNS = ["claim", "data", "protocol", "architecture", "model", "compared", "paper", "ours"]
COLUMNS += ["value", "sd", "se", "seeds", "holds"]
PLACE = ["data", "protocol", "architecture"]
MODEL = [*PLACE, "objective", "k", "first_objective", "first_k"]

Row = dict[str, Any]


def claims_table(
    runs: Sequence[RunRecord], scores: pd.DataFrame, cells: Mapping[int, pd.DataFrame]
) -> pd.DataFrame:
    """Return one row for each claim and model, or pair of models, for which there are runs.

    `value` is the mean over seeds in nats, `sd` over them and, of one seed, `se` over images, all
    where the claim is about one number; `holds` is `yes`, or `no` with the reason, or empty where
    the paper has no number.

    Args:
        runs: All.
        scores: `run_tables.scores_table` of them.
        cells: Of the paper's tables.
    """
    pairs = zip(runs, scores.to_dict("records"), strict=True)
    own = scores.assign(
        removal=[removal_of(run) for run in runs],
        removal_se=[removal_of(run, "se_difference") for run in runs],
        gap=[gap_of(run, score) for run, score in pairs],
    )
    own = own[(own["status"] == "") & ~own["architecture"].str.fullmatch(PICTURED)]
    rows = [
        *inactive_units(own),
        *overfitting(own),
        *little_gain(pd.concat([cells[1], cells[3]])),
        *swaps(own),
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def removal_of(run: RunRecord, column: str = "difference") -> float:
    """Return how much removing the inactive units of a finished run changes its NLL, or NaN."""
    table = run.removal
    if not len(table) or int(table["passes"].iloc[-1]) != run.total_passes:
        return float("nan")
    return float(table[column].iloc[-1])


def gap_of(run: RunRecord, score: Mapping[str, Any]) -> float:
    """Return the bound of the training images less that of the test images, or NaN.

    The first is the mean over the last pass of training, with the run's k; the second is the ELBO
    for a VAE and with k = 1, and L_k of the run's k for an IWAE.
    """
    name, k = run.config["objective"]["name"], run.config["k"]
    if name not in published.OBJECTIVES or not len(run.metrics):
        return float("nan")
    last = run.metrics.iloc[-1]
    table = by_l_k(run.evaluations)
    of_all = (table["split"] == "test") & (table["images"] == score["eval_images"])
    table = table[of_all & (table["passes"] == run.total_passes)]
    elbo = is_elbo(name, k)
    table = table[table["k"] == (score["eval_k"] if elbo else k)]
    if not len(table) or last["k"] != k:
        return float("nan")
    test = table["negative_elbo" if elbo else "nll"].iloc[-1]
    return float(last["train_bound"] + test)


def is_elbo(objective: str, k: int) -> bool:
    """Whether an objective of the paper is the ELBO."""
    return objective == "vae" or k == 1


def models(scores: pd.DataFrame, column: str) -> Iterator[tuple[Row, pd.DataFrame]]:
    """Yield each model that has a number in a column, and its rows with one seed each."""
    known = scores[scores[column].notna()]
    order = known.assign(
        order=[in_paper_order(pair) for pair in known[["objective", "k"]].to_numpy().tolist()]
    )
    for _, own in order.sort_values([*PLACE, "order"]).groupby(MODEL, sort=False):
        own = own.drop_duplicates("seed", keep="last")
        yield {str(name): value for name, value in own.iloc[0].to_dict().items()}, own


def row_of(claim: Claim, place: Mapping[str, Any], **cells: object) -> Row:
    """Return a row of the table."""
    about = {"claim": claim.text, "compared": claim.compared}
    return {**about, **{name: place[name] for name in PLACE}, **cells}


def model_name(place: Mapping[str, Any]) -> str:
    """Return objective and k of a model, of both stages if it has two."""
    own = f"{place['objective'].upper()} k={place['k']}"
    first = place["first_objective"]
    return f"{first.upper()} k={place['first_k']}, then {own}" if first else own


def over_seeds(values: pd.Series, se: float = float("nan")) -> Row:
    """Return mean and spread of a number over seeds, and its text."""
    mean, sd, n = values.mean(), values.std(), len(values)
    spread = f" ± {sd:.3f}, n={n}" if n > 1 else f" ± {se:.3f}" if se == se else ""
    se = se if n == 1 else float("nan")
    return {"ours": f"{mean:+.3f}{spread}", "value": mean, "sd": sd, "se": se, "seeds": n}


def inactive_units(scores: pd.DataFrame) -> Iterator[Row]:
    """Yield what removing the inactive units of each model does to its NLL."""
    for place, own in models(scores, "removal"):
        found = over_seeds(own["removal"], own["removal_se"].iloc[0])
        yield row_of(
            INACTIVE,
            place,
            model=model_name(place),
            paper=f"less than ±{published.REMOVAL}",
            holds="yes" if abs(found["value"]) < published.REMOVAL else "no: more",
            **found,
        )


def overfitting(scores: pd.DataFrame) -> Iterator[Row]:
    """Yield how much better the training images' bound of each model is than the test images'."""
    for place, own in models(scores[scores["first_objective"] == ""], "gap"):
        found = over_seeds(own["gap"])
        theirs = published.GAPS.get(place["dataset"])
        yield row_of(
            OVERFITTING,
            place,
            model=model_name(place),
            paper="{} to {}".format(*theirs) if theirs else "",
            holds=within(found["value"], *theirs) if theirs else "",
            **found,
        )


def within(value: float, low: float, high: float) -> str:
    """Return whether a number is in a range, as a cell shows it."""
    return "no: less" if value < low else "no: more" if value > high else "yes"


def little_gain(cells: pd.DataFrame) -> Iterator[Row]:
    """Yield what the VAE gains from k = 1 to the largest k, and what IWAE gains."""
    scored = cells[cells["nll"].notna() & (cells["protocol"] != "")]
    for place, own in scored.groupby(PLACE, sort=False):
        by_k = {name: own[own["objective"] == name].set_index("k") for name in published.OBJECTIVES}
        vae, iwae = (by_k[name] for name in published.OBJECTIVES)
        ks = sorted(set(vae.index) & set(iwae.index))
        if len(ks) < 2 or ks[0] != 1:
            continue
        ends = [1, ks[-1]]
        if len({str(table.loc[k, "eval_k"]) for table in (vae, iwae) for k in ends}) > 1:
            continue
        gains, theirs = (
            [float(table.loc[1, column] - table.loc[ks[-1], column]) for table in (vae, iwae)]
            for column in ("nll", "paper_nll")
        )
        holds = gains[1] > 0 and gains[0] < gains[1] / 2
        yield row_of(
            LITTLE_GAIN,
            dict(zip(PLACE, place, strict=True)),
            model=f"VAE, and IWAE, k=1 and {ks[-1]}",
            paper=gain_text(*theirs) if theirs[0] == theirs[0] else "",
            ours=gain_text(*gains),
            value=gains[0],
            seeds=int(min(table.loc[k, "seeds"] for table in (vae, iwae) for k in ends)),
            holds="yes" if holds else "no",
        )


def gain_text(vae: float, iwae: float) -> str:
    """Return two gains as a cell shows them."""
    return f"VAE {vae:+.2f}, IWAE {iwae:+.2f}"


def swaps(scores: pd.DataFrame) -> Iterator[Row]:
    """Yield how a second stage with another objective changed the number of active units.

    It should move towards that of the second objective alone; where both objectives alone come to
    one number, nothing can be said.
    """
    counted = scores[scores["active"] != ""]
    counted = counted.assign(units=[units(text) for text in counted["active"]])
    children = counted[counted["first_objective"] != ""]
    for place, own in models(children, "units"):
        first = counted[counted["run"].isin(own["parent"])]
        if not len(first) or place["objective"] == place["first_objective"]:
            continue
        alike = (counted[PLACE] == first[PLACE].iloc[0]).all(axis=1) & (counted["k"] == place["k"])
        same = published.OBJECTIVES if place["k"] == 1 else (place["objective"],)
        alike &= counted["objective"].isin(same) & (counted["first_objective"] == "")
        if not alike.any():
            continue
        ours = [float(table["units"].mean()) for table in (first, own, counted[alike])]
        known = published.swap(
            place["dataset"],
            place["layers"],
            (place["first_objective"], place["first_k"]),
            (place["objective"], place["k"]),
        )
        usual = known and place["architecture"] == published.latents_of(place["layers"])
        moved, wanted = ours[1] - ours[0], ours[2] - ours[0]
        verdict = "yes" if moved * wanted > 0 else "no: not towards it" if wanted else ""
        yield row_of(
            SWAP,
            place,
            model=model_name(place),
            paper=theirs_of(known, place) if known and usual else "",
            ours=swap_text(*ours),
            seeds=len(own),
            holds=verdict,
        )


def units(active: str) -> float:
    """Return the sum over layers of a number of active units such as `26+7`."""
    return sum(map(float, active.split("+")))


def swap_text(first: float, second: float, target: float) -> str:
    """Return units after both stages, and of the second objective alone, as a cell shows them."""
    return f"{first:g} -> {second:g} (from the start {target:g})"


def theirs_of(known: published.Swap, place: Mapping[str, Any]) -> str:
    """Return the paper's numbers of a swap."""
    target = published.published(place["dataset"], place["layers"], place["objective"], place["k"])
    results = (known.first_result, known.second_result, target)
    return swap_text(*(units(result.active) for result in results if result))
