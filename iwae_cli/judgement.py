"""What a trained run is worth: its rows of eval.csv, its active units."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import torch

from iwae_cli.components import ESTIMATORS, Estimator, check_k, find_named
from iwae_cli.core import config
from iwae_cli.core.errors import ConfigError
from iwae_cli.data.dataset import Split
from iwae_cli.evaluation.active_units import (
    ORIGINAL_IMAGES,
    Definition,
    unit_variances,
    without_units,
)
from iwae_cli.evaluation.likelihood import log_likelihoods, warn_of_few_samples
from iwae_cli.randomness import BLOCK, EvaluationNoise
from iwae_cli.runs.eval_csv import L_K, per_image_name
from iwae_cli.runs.folder import stored_row
from iwae_cli.runs.provenance import device_name
from iwae_cli.trained import TrainedRun

BY_L_K = find_named("estimator", L_K, ESTIMATORS)


def evaluate(
    path: str | Path,
    *,
    k: Sequence[int] = (5000,),
    split: Split = "test",
    limit: int | None = None,
    seed: int = 0,
    estimator: str = "L_k",
    precision: str = "float32",
    device: str = "auto",
) -> list[dict[str, Any]]:
    """Return one row of eval.csv for each k: the NLL by L_k with its errors, nats per image.

    Rows that the run folder holds already are read, not computed again. New ones are written to
    `eval.csv`, and each image's log p-hat to `per_image.npz`.

    Args:
        path: A run folder or a checkpoint file.
        k: Numbers of samples; all are estimated in one pass.
        split: `train`, `valid` or `test`.
        limit: Use the first so many images alone.
        seed: Of binarisation and noise.
        estimator: `L_k`, `jvi` or `vr`, with parameters as in `jvi,order=1`; `bound_kind` says
            what its expectation is to log p(x): a lower or upper bound, or neither.
        precision: Of the matrix products: `float32`, `bfloat16` or `auto`.
        device: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        ConfigError: A k below 1 or not allowed by the estimator, an unknown split or device.
        CheckpointError: The checkpoint is missing, damaged or foreign.
        DataError: The data set is missing, damaged, or not the one trained on.
    """
    chosen = find_named("estimator", estimator, ESTIMATORS)
    check_k([chosen], k)
    run = TrainedRun(path, device=device, precision=precision)
    return evaluate_run(run, k=k, split=split, limit=limit, seed=seed, estimator=chosen)


def evaluate_run(
    run: TrainedRun,
    *,
    k: Sequence[int],
    split: Split,
    limit: int | None,
    seed: int,
    estimator: Estimator = BY_L_K,
) -> list[dict[str, Any]]:
    """Return the rows of `evaluate` for a checkpoint that is already loaded."""
    ks = sorted(set(k))
    images = run.images(split, limit)
    key = {
        "steps": run.content["training"]["steps"],
        "split": split,
        "images": len(images),
        "seed": seed,
        "estimator": estimator.label,
        "precision": run.precision,
    }
    stored = {n: stored_row(run.folder, {**key, "k": n}) for n in ks}
    rows = {n: row for n, row in stored.items() if row is not None}
    missing = [n for n in ks if n not in rows]
    if missing:
        run.folder.read_per_image()  # before the work: what is damaged cannot be added to
        noise = EvaluationNoise(seed, run.model.latents)
        found = log_likelihoods(
            run.model,
            images,
            ks=missing,
            noise=noise,
            dynamic=run.dynamic,
            estimate=estimator.objective.bound,
        )
        about = {
            "bound_kind": estimator.objective.kind,
            "device": device_name(run.device),
            "threads": torch.get_num_threads(),
        }
        new = {e.k: {**run.provenance(), **key, **e.summary(), **about} for e in found}
        if estimator.label != BY_L_K.label:
            for row in new.values():  # first-order results on L_k alone
                row.update(se_mc=math.nan, bias=math.nan)
        arrays = {per_image_name({**key, "k": e.k}): e.log_p for e in found}
        run.folder.add_evaluation(list(new.values()), arrays)
        rows.update(new)
    warn_of_few_samples(rows[ks[-1]])
    return [rows[n] for n in ks]


def active_units(
    path: str | Path,
    *,
    threshold: float = 0.01,
    split: Split = "train",
    definition: Definition = "paper",
    samples: int = 100,
    check: bool = False,
    k: int = 5000,
    limit: int | None = None,
    seed: int = 0,
    device: str = "auto",
) -> dict[str, Any]:
    """Return the number of active units of each stochastic layer; write all variances.

    A unit is active if A_u = Var_x(E_q[u | x]) exceeds the threshold (Burda et al. 2015, section
    5.3); `active_units.csv` gets A_u of every unit.

    Args:
        path: A run folder or a checkpoint file.
        threshold: For A_u.
        split: Images to take the variance over; all of them.
        definition: `paper`, or `original-code`: the first 500 training images, and layers above
            the first from one sample of the layer below, uncorrected.
        samples: Draws of the layers below with `paper`.
        check: Evaluate the test set with and without the inactive units too.
        k: Samples an image of that check.
        limit: Test images of that check; None for all.
        seed: Of binarisation and noise.
        device: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        ConfigError: An option out of range.
        CheckpointError: The checkpoint is missing, damaged or foreign.
        DataError: The data set is missing, damaged, or not the one trained on.
    """
    if definition not in get_args(Definition):
        raise ConfigError(config.unknown("definition", definition, get_args(Definition)))
    if not 1 <= samples <= BLOCK:
        raise ConfigError(f"samples must be in 1..{BLOCK}, got {samples}")
    run = TrainedRun(path, device=device)
    if definition == "original-code":
        split, images, samples = "train", run.images("train", ORIGINAL_IMAGES), 1
    else:
        images = run.images(split)
    layers = unit_variances(run.model, images, samples=samples, seed=seed, dynamic=run.dynamic)
    table = pd.concat(
        pd.DataFrame({"layer": level, "unit": range(1, len(a) + 1), "variance": a.numpy()})
        for level, a in enumerate(layers, start=1)
    )
    table["active"] = table["variance"] > threshold
    settings = {
        **run.provenance(),
        "split": split,
        "images": len(images),
        "definition": definition,
        "samples": samples,
        "threshold": threshold,
        "seed": seed,
    }
    run.folder.write_active_units(table.assign(**settings))
    counts = [int((a > threshold).sum()) for a in layers]
    result = {
        **settings,
        "active": "+".join(map(str, counts)),
        "layers": counts,
        "csv": str(run.folder.active_units),
        "check": None,
    }
    if check:
        kept = [torch.nonzero(a > threshold).flatten() for a in layers]
        result["check"] = check_removal(run, kept, k=k, limit=limit, seed=seed)
    return result


def check_removal(
    run: TrainedRun, kept: Sequence[torch.Tensor], *, k: int, limit: int | None, seed: int
) -> dict[str, Any]:
    """Return the test NLL of the whole model and of one that has only the units `kept`.

    Both meet the same binarisation and the same noise, so the difference is paired; its standard
    error is over images. The whole model's estimates are those of `evaluate`, computed once.
    """
    images = run.images("test", limit)
    row = evaluate_run(run, k=[k], split="test", limit=limit, seed=seed)[0]
    whole = run.folder.read_per_image()[per_image_name(row)]
    noise = EvaluationNoise(seed, run.model.latents, units=kept)
    pruned = log_likelihoods(
        without_units(run.model, kept), images, ks=[k], noise=noise, dynamic=run.dynamic
    )[0]
    difference = whole - pruned.log_p
    return {
        "k": k,
        "images": len(images),
        "nll": row["nll"],
        "nll_without_inactive": pruned.summary()["nll"],
        "difference": float(difference.mean()),
        "se_difference": float(difference.std(ddof=1) / np.sqrt(len(images))),
    }
