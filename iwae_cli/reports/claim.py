"""What a claim of the paper is, and a row that says whether runs bear it out."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pandas as pd

from iwae_cli.reports.labels import number_text
from iwae_cli.reports.results import in_paper_order


class Claim(NamedTuple):
    """What the paper says, in our words, and what is compared to see whether it holds."""

    text: str
    compared: str


COLUMNS = ["claim", "data", "protocol", "architecture", "model", "compared", "paper", "ours"]
COLUMNS += ["value", "sd", "se", "seeds", "holds"]
PLACE = ["data", "protocol", "architecture"]
MODEL = [*PLACE, "objective", "k", "first_objective", "first_k"]

Row = dict[str, Any]


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


def mean_over_seeds(values: pd.Series, se: float = float("nan")) -> Row:
    """Return mean and spread of a number over seeds, and its text."""
    mean, sd, n = values.mean(), values.std(), len(values)
    spread = f" ± {sd:.3f}, n={n}" if n > 1 else f" ± {se:.3f}" if se == se else ""
    numbers = {"value": mean, "sd": sd, "se": se if n == 1 else float("nan"), "seeds": n}
    return {"ours": number_text(mean, "+z.3f") + spread, **numbers}
