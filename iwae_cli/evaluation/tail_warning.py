"""What to do about an NLL that rests on few of its importance weights, and what that costs."""

import logging
import math
from collections.abc import Mapping
from typing import Any

from iwae_cli.evaluation import laplace
from iwae_cli.evaluation.ais import Annealing
from iwae_cli.evaluation.tails import TOO_HEAVY

log = logging.getLogger("iwae")

LARGE_SHARE = 0.05  # of the images
LARGE_BIAS = 0.5  # of the standard error over images
MORE = 10  # times as many samples
GRADIENT = 2  # forward passes that a gradient in the noise takes
FEW = 500  # samples that the Laplace proposal needs, see docs/trust.md


def warn_of_heavy_tails(row: Mapping[str, Any], latents: int) -> None:
    """Log a warning where heavy tails shift an NLL by much beside its standard error.

    Silent where the jackknife's estimate of the bias is below half the standard error over
    images, or where the estimator has none, as `jvi` and `vr`.

    Args:
        row: Of eval.csv.
        latents: Units of all stochastic layers.
    """
    heavy = row["share_khat_above_0.7"] > LARGE_SHARE
    se = row["se_images"]
    large = row["bias_jackknife"] > LARGE_BIAS * (0 if math.isnan(se) else se)
    if not (heavy and large):
        return
    log.warning(
        "warning: %.0f %% of the images have a Pareto k-hat above %.1f at k=%d: the NLL is too "
        "high, by %.2f nats or more; here %s",
        100 * row["share_khat_above_0.7"],
        TOO_HEAVY,
        row["k"],
        row["bias_jackknife"],
        ", ".join(f"{what} takes about {time}" for what, time in choices(row, latents).items()),
    )


def choices(row: Mapping[str, Any], latents: int) -> dict[str, str]:
    """Return options that come nearer to log p(x), cheapest first, with the time of each.

    Time goes by samples decoded: an estimate, from what those of the row took.
    """
    work, fit = Annealing(), laplace.decoded_to_fit(latents)
    fitted = row["estimator"] == laplace.BY_LAPLACE
    own = row["k"] + (fit if fitted else 0)
    decoded = {
        "--estimator ais": GRADIENT * work.temperatures * work.chains * work.leapfrogs,
        f"--k {MORE * row['k']}": own - row["k"] + MORE * row["k"],
    }
    if not fitted:
        decoded = {f"--proposal laplace --k {FEW}": fit + FEW, **decoded}
    return {
        what: words_of(row["seconds"] * rows / own)
        for what, rows in sorted(decoded.items(), key=lambda item: item[1])
    }


def words_of(seconds: float) -> str:
    """Return a time in whole minutes, or hours where there are many."""
    minutes = seconds / 60
    if minutes < 1.5:  # noqa: PLR2004  (what rounds to one)
        return "a minute"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"  # noqa: PLR2004
