"""What to do about an NLL that rests on few of its importance weights, and what that costs."""

import logging
import math
from collections.abc import Mapping
from typing import Any

from iwae_cli.evaluation.tails import TOO_HEAVY

log = logging.getLogger("iwae")

LARGE_SHARE = 0.05  # of the images
LARGE_BIAS = 0.5  # of the standard error over images
MORE = 10  # times as many samples


def warn_of_heavy_tails(row: Mapping[str, Any]) -> None:
    """Log a warning where heavy tails shift an NLL by much beside its standard error.

    Silent where the jackknife's estimate of the bias is below half the standard error over
    images, or where the estimator has none, as `jvi` and `vr`.

    Args:
        row: Of eval.csv.
    """
    heavy = row["share_khat_above_0.7"] > LARGE_SHARE
    se = row["se_images"]
    large = row["bias_jackknife"] > LARGE_BIAS * (0 if math.isnan(se) else se)
    if not (heavy and large):
        return
    k, minutes = MORE * row["k"], MORE * row["seconds"] / 60
    log.warning(
        "warning: %.0f %% of the images have a Pareto k-hat above %.1f at k=%d: the NLL is too "
        "high, by %.2f nats or more; --k %d takes about %s here",
        100 * row["share_khat_above_0.7"],
        TOO_HEAVY,
        row["k"],
        row["bias_jackknife"],
        k,
        "a minute" if minutes < 1.5 else f"{minutes:.0f} min",
    )
