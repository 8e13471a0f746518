"""Runs that differ in their seed alone, as one result."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from iwae_cli.reports.labels import whole_text

NO_RUN = "no run"


def has_result(scores: pd.DataFrame) -> bool:
    """Whether some run has been scored."""
    return bool((scores["status"] == "").any())


def over_seeds(scores: pd.DataFrame) -> dict[str, Any]:
    """Return mean and standard deviation over seeds of some runs, and what is missing."""
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
        "active_sd": scored["active"].map(total_active).astype(float).std(),
        "eval_k": each_once(scored["eval_k"]),
        "images": each_once(scored["eval_images"]),
        "test_images": each_once(scored["test_images"]),
        "filled_from": "",
        "status": "; ".join(reasons) if len(scores) else NO_RUN,
        "runs": " ".join(scored["run"]),
    }


def each_once(values: pd.Series) -> str:
    """Return whole numbers without repetition, such as `5000`."""
    return ", ".join(str(int(value)) for value in sorted(set(values)))


def mean_active(counts: Iterable[str]) -> str:
    """Return the mean number of active units a layer over runs, such as `26+7` or `25.5+7`."""
    split = [[int(layer) for layer in count.split("+")] for count in counts if count]
    return "+".join(whole_text(sum(layer) / len(layer)) for layer in zip(*split, strict=True))


def total_active(active: str) -> float:
    """Return the sum over layers of active units such as `26+7`; NaN for an empty text."""
    return sum(map(float, active.split("+"))) if active else float("nan")
