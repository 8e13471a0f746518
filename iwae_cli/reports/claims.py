"""The paper's claims beside its tables: what it says, its number, ours, and whether it holds."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from iwae_cli.reports import published
from iwae_cli.reports.claim import COLUMNS, PLACE, Claim, Row, mean_over_seeds, models, row_of
from iwae_cli.reports.claim_of_swaps import swaps
from iwae_cli.reports.formatting import Table, slug
from iwae_cli.reports.labels import NOTHING, model_label, number_text
from iwae_cli.reports.run_record import RunRecord
from iwae_cli.runs.eval_csv import by_l_k

# Models with two latent units are trained to be looked at; the paper claims nothing of them.
PICTURED = r"(?:.*\+)?2(?:,.*)?"
SHOWN = {"data": "data", "protocol": "training", "architecture": "latents"}
SHOWN |= {"model": "model", "paper": "paper", "ours": "ours", "holds": "holds"}

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


def claims_table(
    runs: Sequence[RunRecord], scores: pd.DataFrame, cells: pd.DataFrame
) -> pd.DataFrame:
    """Return one row for each claim and model, or pair of models, for which there are runs.

    `value` is the mean over seeds in nats, `sd` over them and, of one seed, `se` over images, all
    where the claim is about one number; `holds` is `yes`, or `no` with the reason, or empty where
    the paper has no number.

    Args:
        runs: All.
        scores: `run_tables.scores_table` of them.
        cells: `results.result_cells` of them.
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
        *little_gain(cells[~cells["architecture"].str.fullmatch(PICTURED)]),
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


def inactive_units(scores: pd.DataFrame) -> Iterator[Row]:
    """Yield what removing the inactive units of each model does to its NLL."""
    for place, own in models(scores, "removal"):
        found = mean_over_seeds(own["removal"], own["removal_se"].iloc[0])
        yield row_of(
            INACTIVE,
            place,
            model=model_label(place),
            paper=f"less than ±{published.REMOVAL}",
            holds="yes" if abs(found["value"]) < published.REMOVAL else "no: more",
            **found,
        )


def overfitting(scores: pd.DataFrame) -> Iterator[Row]:
    """Yield how much better the training images' bound of each model is than the test images'."""
    for place, own in models(scores[scores["first_objective"] == ""], "gap"):
        found = mean_over_seeds(own["gap"])
        theirs = published.GAPS.get(place["dataset"])
        yield row_of(
            OVERFITTING,
            place,
            model=model_label(place),
            paper="{} to {}".format(*theirs) if theirs else "",
            holds=within(found["value"], *theirs) if theirs else "",
            **found,
        )


def within(value: float, low: float, high: float) -> str:
    """Return whether a number is in a range, as a cell shows it."""
    return "no: less" if value < low else "no: more" if value > high else "yes"


def little_gain(cells: pd.DataFrame) -> Iterator[Row]:
    """Yield what the VAE gains from k = 1 to the largest k, and what IWAE gains."""
    scored = cells[cells["nll"].notna()]
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
    return f"VAE {number_text(vae, '+z.2f')}, IWAE {number_text(iwae, '+z.2f')}"


def claim_tables(claims: pd.DataFrame) -> list[Table]:
    """Return a table for each claim; columns without a text, or with one for all rows, go."""
    tables = []
    for (text, compared), own in claims.groupby(["claim", "compared"], sort=False):
        told = [name for name in ("protocol", "architecture") if own[name].nunique() == 1]
        kept = [name for name in SHOWN if name not in told and (own[name] != "").any()]
        alike = "; ".join(f"{SHOWN[name]}: {own[name].iloc[0]}" for name in told)
        note = f"{compared[0].upper()}{compared[1:]}." + (f" All rows: {alike}." if alike else "")
        frame = own[kept].rename(columns=SHOWN).replace("", NOTHING).reset_index(drop=True)
        tables.append(Table(f"Claim: {text}", note, frame, slug("claim", *text.split()[:4])))
    return tables
