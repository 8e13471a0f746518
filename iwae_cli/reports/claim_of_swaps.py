"""The claim of Table 2: the objective decides how many units are active."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from iwae_cli.reports import published
from iwae_cli.reports.claim import PLACE, Claim, Row, models, row_of
from iwae_cli.reports.labels import model_label
from iwae_cli.reports.seeds import total_active

SWAP = Claim(
    "The objective, not the optimiser, decides how many units are active",
    "active units after both stages; holds if they move towards those of the second objective "
    "from the start",
)


def swaps(scores: pd.DataFrame) -> Iterator[Row]:
    """Yield how a second stage with another objective changed the number of active units.

    It should move towards that of the second objective alone; where both objectives alone come to
    one number, nothing can be said.
    """
    counted = scores[scores["active"] != ""]
    counted = counted.assign(units=[total_active(text) for text in counted["active"]])
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
            model=model_label(place),
            paper=theirs_of(known, place) if known and usual else "",
            ours=swap_text(*ours),
            seeds=len(own),
            holds=verdict,
        )


def swap_text(first: float, second: float, target: float) -> str:
    """Return units after both stages, and of the second objective alone, as a cell shows them."""
    return f"{first:g} -> {second:g} (from the start {target:g})"


def theirs_of(known: published.Swap, place: Mapping[str, Any]) -> str:
    """Return the paper's numbers of a swap."""
    target = published.published(place["dataset"], place["layers"], place["objective"], place["k"])
    results = (known.first_result, known.second_result, target)
    return swap_text(*(total_active(result.active) for result in results if result))
