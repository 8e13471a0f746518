"""How well the gradients of a trained run are determined, for several estimators and k."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from iwae_cli.components import Estimator, check_k, find_named
from iwae_cli.core.atomic_write import write_table
from iwae_cli.core.errors import ConfigError
from iwae_cli.data.dataset import Split
from iwae_cli.evaluation.gradients import REFERENCE, gradient_statistics
from iwae_cli.randomness import EvaluationNoise
from iwae_cli.runs.provenance import device_name
from iwae_cli.trained import TrainedRun


def gradients(
    path: str | Path,
    *,
    objective: Sequence[str] = ("iwae", "dreg"),
    k: Sequence[int] = (1, 4, 16, 64),
    draws: int = 200,
    images: int = 32,
    split: Split = "train",
    seed: int = 0,
    device: str = "auto",
) -> list[dict[str, Any]]:
    """Return the rows of gradients.csv: a row for each k, estimator and network.

    The gradient is that of the mean loss of the first `images` images of a split, binarised once;
    only the noise differs from draw to draw. The columns are those of
    `evaluation.gradients.gradient_statistics`; `iwae` is always among the estimators, for the bias
    is taken against it. The file is written anew by each call.

    Args:
        path: A run folder or a checkpoint file.
        objective: Estimators, with parameters as in `vr,alpha=0`.
        k: Numbers of samples.
        draws: Repetitions, at least 2.
        images: Of the minibatch.
        split: `train`, `valid` or `test`.
        seed: Of binarisation and noise.
        device: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        ConfigError: An option out of range, or a k that an estimator does not allow.
        CheckpointError: The checkpoint is missing, damaged or foreign.
        DataError: The data set is missing, damaged, or not the one trained on.
    """
    if draws < 2:
        raise ConfigError(f"draws must be at least 2, got {draws}")
    found: list[Estimator] = [find_named("objective", name) for name in (REFERENCE, *objective)]
    check_k(found, k)
    run = TrainedRun(path, device=device)
    grey = run.images(split, images)
    x = EvaluationNoise(seed, run.model.latents).binarise(grey, 0) if run.dynamic else grey
    rows = gradient_statistics(
        run.model,
        torch.from_numpy(x).to(run.device),
        {one.label: one.objective for one in found},
        ks=sorted(set(k)),
        draws=draws,
        seed=seed,
    )
    about = {**run.provenance(), "split": split, "images": len(x), "seed": seed}
    about["device"] = device_name(run.device)
    rows = [{**about, **row} for row in rows]
    write_table(run.folder.gradients, pd.DataFrame(rows))
    return rows
