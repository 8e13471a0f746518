"""The test NLL of a trained run: its rows of eval.csv."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from iwae_cli.core.errors import ResultsError, UnsavedError
from iwae_cli.data.dataset import Split
from iwae_cli.evaluation.ais import Annealing
from iwae_cli.evaluation.chains import annealed_likelihoods, annealing_of, label_of
from iwae_cli.evaluation.estimators import (
    ANNEALED,
    ESTIMATORS,
    Estimator,
    check_k,
    find_named,
)
from iwae_cli.evaluation.laplace import BY_LAPLACE, check_proposal
from iwae_cli.evaluation.likelihood import Likelihood, log_likelihoods
from iwae_cli.evaluation.noise import EvaluationNoise
from iwae_cli.evaluation.sampling import Images, LogWeights, log_weights
from iwae_cli.evaluation.tail_warning import warn_of_heavy_tails
from iwae_cli.evaluation.trained_run import TrainedRun
from iwae_cli.runs.eval_csv import L_K, EvaluationKey, agrees
from iwae_cli.runs.provenance import device_name

BY_L_K = find_named("estimator", L_K, ESTIMATORS)


def evaluate(
    path: str | Path,
    *,
    k: Sequence[int] = (5000,),
    split: Split = "test",
    limit: int | None = None,
    seed: int = 0,
    estimator: str = "L_k",
    proposal: str = "q",
    precision: str = "float32",
    device: str = "auto",
    output: Path | None = None,
    data: Path | None = None,
) -> list[dict[str, Any]]:
    """Return one row of eval.csv for each k: the NLL by L_k with its errors, nats per image.

    Rows that the run folder holds already are read, not computed again. New ones are written to
    `eval.csv`, and each image's log p-hat and Pareto k-hat to `per_image.npz`; nothing is where
    the checkpoint is outside a run folder and no `output` is named.

    Args:
        path: A run folder or a checkpoint file.
        k: Numbers of samples; all are estimated in one pass.
        split: `train`, `valid` or `test`.
        limit: Use the first so many images alone.
        seed: Of binarisation and noise.
        estimator: `L_k`, `jvi` or `vr`, with parameters as in `jvi,order=1`, or `ais`, as in
            `ais,temperatures=100,chains=16,leapfrogs=10`, whose chains take the place of k;
            `bound_kind` says what its expectation is to log p(x): a lower or upper bound, or
            neither.
        proposal: What L_k draws from: `q`, or `laplace`, each image's own approximation of its
            posterior, see `evaluation.laplace`: still a lower bound.
        precision: Of the matrix products: `float32`, `bfloat16` or `auto`.
        device: `auto`, `cpu`, `cuda` or `mps`.
        output: Where to make a folder of the run's name for the results, in place of its own.
        data: Where the file of the user's training images is now, should it have moved.

    Raises:
        ConfigError: A k below 1 or not allowed by the estimator, an unknown split or device.
        CheckpointError: The checkpoint is missing, damaged or foreign.
        DataError: The data set is missing, damaged, or not the one trained on.
    """
    samples = check_proposal(proposal, estimator)
    if estimator.split(",")[0] == ANNEALED:
        work = annealing_of(estimator)
        run = TrainedRun(path, device=device, precision=precision, output=output, data=data)
        return [evaluate_annealed(run, work, split=split, limit=limit, seed=seed)]
    chosen = find_named("estimator", estimator, ESTIMATORS)
    if samples is not log_weights:
        chosen = chosen._replace(label=BY_LAPLACE)
    check_k([chosen], k)
    run = TrainedRun(path, device=device, precision=precision, output=output, data=data)
    return evaluate_run(
        run, k=k, split=split, limit=limit, seed=seed, estimator=chosen, weights=samples
    )


def evaluate_run(
    run: TrainedRun,
    *,
    k: Sequence[int],
    split: Split,
    limit: int | None,
    seed: int,
    estimator: Estimator = BY_L_K,
    weights: LogWeights = log_weights,
    per_image: bool = False,
) -> list[dict[str, Any]]:
    """Return the rows of `evaluate` for a checkpoint that is already loaded.

    A stored row counts if the stored estimates of single images agree with it; with `per_image`,
    only if these are there.
    """
    ks = sorted(set(k))
    images = run.images(split, limit)
    keys = {n: key_for(run, images, split, seed, estimator.label, n) for n in ks}
    known = run.folder.read_evaluations()
    stored = {n: key.row_in(known) for n, key in keys.items()}
    # before the work: what is damaged cannot be added to
    arrays = run.folder.read_per_image()
    rows = {
        n: row
        for n, row in stored.items()
        if row is not None and agrees(row, arrays.get(keys[n].array_name()), needed=per_image)
    }
    missing = [n for n in ks if n not in rows]
    if missing:
        rows |= computed(run, images, {n: keys[n] for n in missing}, estimator, weights)
    warn_of_heavy_tails(rows[ks[-1]], sum(run.model.latents))
    return [rows[n] for n in ks]


def key_for(
    run: TrainedRun, images: Images, split: Split, seed: int, estimator: str, k: int
) -> EvaluationKey:
    """Return the key of an evaluation of these images of a split."""
    return EvaluationKey(
        steps=run.checkpoint.training.steps,
        split=split,
        images=len(images),
        seed=seed,
        estimator=estimator,
        precision=run.precision,
        parameters=run.checkpoint.parameters_digest,
        k=k,
    )


def computed(
    run: TrainedRun,
    images: Images,
    keys: Mapping[int, EvaluationKey],
    estimator: Estimator,
    weights: LogWeights,
) -> dict[int, dict[str, Any]]:
    """Return new rows of eval.csv for each k, and store them with single images' estimates."""
    seed = next(iter(keys.values())).seed
    found = log_likelihoods(
        run.model,
        images,
        ks=list(keys),
        noise=EvaluationNoise(seed, run.model.latents),
        binarisation=run.binarisation,
        estimate=estimator.objective.bound,
        weights=weights,
    )
    about: dict[str, Any] = {"bound_kind": estimator.objective.kind}
    if weights is not log_weights:  # the mean of log weights is the ELBO of samples of q alone
        about["negative_elbo"] = math.nan
    if estimator.objective != BY_L_K.objective:  # first-order results on L_k alone
        about |= {"se_mc": math.nan, "bias": math.nan, "bias_jackknife": math.nan}
    rows = {e.k: finished_row(run, keys[e.k], e, about) for e in found}
    arrays = {keys[e.k].array_name(): e.log_p for e in found}
    arrays |= {keys[e.k].k_hat_name(): e.k_hat for e in found}
    store(run, list(rows.values()), arrays)
    return rows


def evaluate_annealed(
    run: TrainedRun, work: Annealing, *, split: Split, limit: int | None, seed: int
) -> dict[str, Any]:
    """Return the row of eval.csv for annealed importance sampling, computed unless it is there."""
    images = run.images(split, limit)
    key = key_for(run, images, split, seed, label_of(work), work.chains)
    name = key.array_name()
    # before the work: what is damaged cannot be added to
    log_p = run.folder.read_per_image().get(name)
    stored = key.row_in(run.folder.read_evaluations())
    if stored is not None and agrees(stored, log_p):
        return stored
    found = annealed_likelihoods(run, images, work=work, key=key)
    row = finished_row(run, key, found, {"bound_kind": "lower"})
    store(run, [row], {name: found.log_p})
    return row


def finished_row(
    run: TrainedRun, key: EvaluationKey, found: Likelihood, about: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a new row of eval.csv; `about` replaces what the estimate says of itself."""
    return {
        **run.provenance(),
        **asdict(key),
        **found.summary(),
        **about,
        "device": device_name(run.device),
        "threads": torch.get_num_threads(),
        "evaluated": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def store(
    run: TrainedRun, rows: Sequence[Mapping[str, Any]], arrays: Mapping[str, NDArray[np.float64]]
) -> None:
    """Add rows and single images' estimates to the run's folder.

    Raises:
        UnsavedError: They cannot be stored; it tells the results.
    """
    try:
        run.folder.add_evaluation(rows, arrays)
    except (OSError, ResultsError) as error:
        raise unsaved(error, rows) from None


def unsaved(error: OSError | ResultsError, rows: Iterable[Mapping[str, Any]]) -> UnsavedError:
    """Return the error for results that could not be stored, which tells them."""
    why = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
    told = "; ".join(
        "NLL {nll:.4f} nats by {estimator} with k={k} on {images} images of {split}, seed {seed}, "
        "se (images) {se_images:.4f}, se (MC) {se_mc:.4f}".format(**row)
        for row in rows
    )
    return UnsavedError(f"could not be saved ({why}), but was computed: {told}")
