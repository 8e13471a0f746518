"""What a run folder says of itself, checked: identity, config, tables, and a fresh evaluation."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray

from iwae_cli.core.config import Config
from iwae_cli.core.progress import ProgressReport
from iwae_cli.data.dataset import SPLITS, Split
from iwae_cli.evaluation.noise import BLOCK, EvaluationNoise
from iwae_cli.evaluation.plain import plain_log_weights
from iwae_cli.evaluation.trained_run import TrainedRun
from iwae_cli.objectives.importance import log_mean_exp
from iwae_cli.runs.config_yaml import differences, read_config
from iwae_cli.runs.eval_csv import ARRAY_KEY, L_K, PRECISION, EvaluationKey, agrees, key_of

IMAGES = 100
ROUNDING = 0.01  # nats that float32 and another order of sums may change an image's estimate by

Arrays = Mapping[str, NDArray[np.float64]]


class Check(NamedTuple):
    """One claim of a run folder.

    Attributes:
        check: What was checked.
        holds: Whether it does.
        found: What was found, in words.
    """

    check: str
    holds: bool
    found: str


def verify(
    path: str | Path,
    *,
    identity_of: Callable[[Config], str],
    images: int = IMAGES,
) -> list[Check]:
    """Return what of a run holds: its identity, its config, its tables and its numbers.

    Args:
        path: A run folder or a checkpoint file.
        identity_of: Returns the identity of a config with the data that are there.
        images: Evaluated again, in float64 by plain formulas.

    Raises:
        CheckpointError: The checkpoint is missing, damaged or foreign.
        DataError: The data set is missing, damaged, or not the one trained on.
        ResultsError: A table of results is damaged.
    """
    run = TrainedRun(path, device="cpu", restore=False)
    data = run.checkpoint.data.hash
    checks = [Check("data", True, f"{run.dataset.label}, content {data[:8]} as trained on")]
    identity = identity_of(run.checkpoint.settings)
    same = identity == run.checkpoint.identity
    found = identity[:8] if same else f"{identity[:8]}, stored {run.checkpoint.identity[:8]}"
    checks.append(Check("identity", same, found))
    if run.folder.config.exists():
        checks.append(config_check(run))
    if run.folder.evaluations.exists():
        arrays = run.folder.read_per_image()
        table = run.folder.read_evaluations().drop_duplicates(ARRAY_KEY, keep="last")
        rows = [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]
        checks += [table_check(row, arrays) for row in rows]
        checks += evaluation_checks(run, [key_of(row) for row in rows], arrays, images)
    return checks


def config_check(run: TrainedRun) -> Check:
    """Return whether config.yaml says what the checkpoint was trained with."""
    try:
        other = differences(read_config(run.folder.config), run.checkpoint.config)
    except (OSError, ValueError) as error:
        return Check("config.yaml", False, f"cannot be read ({error})")
    found = f"changed: {', '.join(other)}" if other else "as in the checkpoint"
    return Check("config.yaml", not other, found)


def table_check(row: Mapping[str, Any], arrays: Arrays) -> Check:
    """Return whether a row of eval.csv is the mean of its images in per_image.npz."""
    key = key_of(row)
    name = f"eval.csv {key.split} {key.estimator} k={key.k}"
    log_p = arrays.get(key.array_name())
    if log_p is None:
        return Check(name, False, f"per_image.npz has no {key.array_name()}")
    found = f"NLL {row['nll']:.3f}, mean of {len(log_p)} images {-log_p.mean():.3f}"
    return Check(name, agrees(row, log_p, needed=True), found)


def evaluation_checks(
    run: TrainedRun, keys: list[EvaluationKey], arrays: Arrays, images: int
) -> Iterator[Check]:
    """Yield, for each split, whether its estimates by the most samples are found again."""
    for split in SPLITS:
        usual = [
            key
            for key in keys
            if (key.split, key.estimator, key.precision) == (split, L_K, PRECISION)
            and key.steps == run.checkpoint.training.steps
            and key.array_name() in arrays
            and arrays[key.array_name()].shape == (key.images,)
        ]
        if usual:
            key = max(usual, key=lambda one: one.k)
            yield evaluation_check(run, key, arrays[key.array_name()], images)


def evaluation_check(
    run: TrainedRun, key: EvaluationKey, stored: NDArray[np.float64], images: int
) -> Check:
    """Return whether plain formulas in float64 give the stored estimates of the first images."""
    grey = run.dataset.split(cast(Split, key.split))[: min(images, key.images)]
    noise = EvaluationNoise(key.seed, run.model.latents)
    pixels = noise.binarise(grey, 0, run.binarisation)
    again = []
    with ProgressReport("verify", total=len(grey)) as report:
        for index, x in enumerate(torch.from_numpy(pixels)):
            draws = noise.draw(index, 1, 0, -(-key.k // BLOCK))
            own = tuple(h[: key.k, 0] for h in draws)
            log_w = plain_log_weights(run.checkpoint.model, x, own, run.checkpoint.settings)
            again.append(float(log_mean_exp(log_w)))
            if report.due():
                report.update(index + 1, f"image {index + 1:,}/{len(grey):,}")
    worst = float(np.abs(np.array(again) - stored[: len(grey)]).max())
    words = f"{len(grey)} images again in float64: at most {worst:.1e} nats apart"
    return Check(f"per_image.npz {key.split} k={key.k}", worst < ROUNDING, words)
