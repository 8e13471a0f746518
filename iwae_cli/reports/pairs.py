"""Pairs of objectives over seeds: the mean gain, its interval, the number of seeds."""

import math
from typing import Any

import pandas as pd
from scipy.special import stdtrit

from iwae_cli.reports.formatting import Table, slug
from iwae_cli.reports.labels import number_text, objective_label
from iwae_cli.reports.run_tables import PREFERRED_K

LEVEL = 0.95
PAIR = ["data", "protocol", "architecture", "k", "baseline", "objective"]
EVALUATION = ["split", "images", "eval_k", "eval_seed"]
COLUMNS = [*PAIR, *EVALUATION, "n", "gain", "sd", "low", "high", "se_images"]
# Of more objectives than these the pairs with one of them are shown
EVERY_PAIR = 4
NOTE = (
    "Gain: NLL of the first objective minus that of the second, nats per image, paired over the "
    "same binarised test images and above 0 where the second is better; the mean over n seeds and "
    "its 95 % interval by Student's t with n - 1 degrees of freedom. With one seed there is no "
    "such interval: ± is the standard error over images alone and says nothing of other seeds."
)


def pairs_over_seeds(differences: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each pair of objectives and evaluation: the gain over seeds.

    `low` and `high` are the ends of the mean's interval at LEVEL by t with n - 1 degrees of
    freedom, NaN with one seed; `se_images` is the mean over seeds of the standard error over
    images.

    Args:
        differences: `paired_differences.paired_differences`, a row a seed.
    """
    rows = []
    for key, own in differences.groupby([*PAIR, *EVALUATION], sort=False):
        gains = own.drop_duplicates("seed", keep="last")["gain"]
        place = dict(zip([*PAIR, *EVALUATION], key, strict=True))
        rows.append({**place, **interval(gains), "se_images": own["se"].mean()})
    return pd.DataFrame(rows, columns=COLUMNS)


def interval(gains: pd.Series) -> dict[str, Any]:
    """Return number, mean, standard deviation and interval of the mean of some gains."""
    n, mean, sd = len(gains), float(gains.mean()), float(gains.std())
    reach = math.nan
    if n > 1:
        reach = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * sd / math.sqrt(n)
    return {"n": n, "gain": mean, "sd": sd, "low": mean - reach, "high": mean + reach}


def unpaired_seeds(scores: pd.DataFrame) -> list[str]:
    """Return a line for each setting whose objectives were not all run with the same seeds.

    Pairs are of equal seeds: what has no partner is in no interval.

    Args:
        scores: `run_tables.scores_table`.
    """
    lines = []
    scored = scores[(scores["status"] == "") & (scores["first_objective"] == "")]
    for place, own in scored.groupby(["data", "protocol", "architecture", "k"], sort=False):
        seeds = {name: set(rows["seed"]) for name, rows in own.groupby("objective", sort=False)}
        shared = set.intersection(*seeds.values())
        rest = {name: sorted(found - shared) for name, found in seeds.items() if found - shared}
        if rest:
            told = "; ".join(f"{name} {', '.join(map(str, s))}" for name, s in rest.items())
            data, _, architecture, k = place
            lines.append(
                f"{data}, {architecture}, k={k}: seeds that not all objectives have: {told}"
            )
    return lines


def preferred(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return one evaluation of each pair: of the most test images, by L_5000 or the largest k."""
    own = pairs[pairs["split"] == "test"]
    own = own.assign(usual=own["eval_k"] == PREFERRED_K)
    order = ["images", "usual", "eval_k", "eval_seed"]
    own = own.sort_values(order, ascending=[False, False, False, True], kind="stable")
    return own.drop_duplicates(PAIR).sort_index().drop(columns="usual")


def pair_tables(pairs: pd.DataFrame) -> list[Table]:
    """Return a table of pairs for each data set; of many objectives the pairs with IWAE.

    Args:
        pairs: `pairs_over_seeds`.
    """
    tables = []
    for data, own in preferred(pairs).groupby("data", sort=False):
        shown = with_one(own)
        told = {"protocol": "Training", "architecture": "Latent units"}
        alike = [name for name in told if shown[name].nunique() == 1]
        columns = {"protocol": "training", "architecture": "latents"}
        frame = pd.DataFrame({columns[n]: shown[n] for n in columns if n not in alike})
        frame["k"] = shown["k"].astype(str)
        frame["first"] = shown["baseline"].map(objective_label)
        frame["second"] = shown["objective"].map(objective_label)
        frame["gain"] = [number_text(gain, "+z.3f") for gain in shown["gain"]]
        frame["95 % interval"] = [interval_text(row) for row in shown.to_dict("records")]
        frame["n"] = shown["n"].astype(str)
        by = ", ".join(f"L_{k}" for k in sorted(set(shown["eval_k"])))
        images = ", ".join(map(str, sorted(set(shown["images"]))))
        notes = [f"Test NLL by {by} on {images} images.", NOTE]
        notes += [f"{told[name]}: {shown[name].iloc[0]}." for name in alike]
        if len(shown) < len(own):
            notes.append("All pairs are in pairs.csv.")
        frame = frame.reset_index(drop=True)
        title = f"Paired differences: {data}"
        tables.append(Table(title, " ".join(notes), frame, slug("differences", data)))
    return tables


def with_one(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return all pairs of few objectives; of many, those with IWAE or else the first of them."""
    names = list(dict.fromkeys([*pairs["baseline"], *pairs["objective"]]))
    if len(names) <= EVERY_PAIR:
        return pairs
    one = "iwae" if "iwae" in names else names[0]
    return pairs[(pairs["baseline"] == one) | (pairs["objective"] == one)]


def interval_text(row: dict[Any, Any]) -> str:
    """Return `+0.21 to +0.27`, or of one seed the standard error over images."""
    if row["n"] == 1:
        return f"± {row['se_images']:.3f} (images only)"
    return f"{number_text(row['low'], '+z.3f')} to {number_text(row['high'], '+z.3f')}"
