"""Active latent units: how much the posterior mean of each unit varies with the image."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from iwae_cli.core.errors import ConfigError, unknown
from iwae_cli.data.binarisation import Binarisation
from iwae_cli.data.dataset import Split
from iwae_cli.evaluation.evaluate import evaluate_run
from iwae_cli.evaluation.likelihood import log_likelihoods
from iwae_cli.evaluation.noise import BLOCK, EvaluationNoise
from iwae_cli.evaluation.trained_run import TrainedRun
from iwae_cli.models.iwae import IWAE
from iwae_cli.models.pruning import without_units
from iwae_cli.runs.checked_table import DIGESTS
from iwae_cli.runs.eval_csv import key_of

Definition = Literal["paper", "original-code"]
THRESHOLD = 0.01
ORIGINAL_IMAGES = 500
CHECK_K = 5000
BATCH = 100


@torch.inference_mode()
def unit_variances(
    model: IWAE,
    images: NDArray[np.float32],
    *,
    samples: int,
    seed: int,
    binarisation: Binarisation,
) -> list[Tensor]:
    """Return A_u = Var_x(E_q[u | x]) of each unit, float64, [H] for each stochastic layer.

    In the first layer E_q[u | x] is exact. Above it, it is the mean over `samples` draws of the
    layer below, which adds E_x[Var(mean | x)] / samples to the variance over images; an unbiased
    estimate of that is subtracted where there is more than one sample, so that the result can
    fall slightly below zero. Variances over images are those of a population.

    Burda et al. 2015, arXiv 1509.00519, section 5.3.

    Args:
        model: On any device.
        images: In [0, 1], [N, D].
        samples: Draws of the layers below, from 1 to `noise.BLOCK`.
        seed: Of binarisation and noise.
        binarisation: Of the images.
    """
    noise = EvaluationNoise(seed, model.latents)
    parameter = next(model.parameters())
    means: list[list[Tensor]] = [[] for _ in model.latents]
    spreads: list[list[Tensor]] = [[] for _ in model.latents]
    for first in range(0, len(images), BATCH):
        x = images[first : first + BATCH]
        below = torch.from_numpy(noise.binarise(x, first, binarisation)).to(parameter)
        draws = noise.draw(first, len(x), 0) if len(model.latents) > 1 else ()
        for level, layer in enumerate(model.recognition):
            q = layer(below)
            mean = q.mean.double().cpu()
            inner = mean if level == 0 else mean.mean(0)
            means[level].append(inner)
            unbiased = level > 0 and samples > 1
            spreads[level].append(mean.var(0) / samples if unbiased else torch.zeros_like(inner))
            if level + 1 < len(model.latents):
                below = q.transform(draws[level][:samples].to(parameter))
    return [
        torch.cat(mean).var(0, correction=0) - torch.cat(spread).mean(0)
        for mean, spread in zip(means, spreads, strict=True)
    ]


def active_units(
    path: str | Path,
    *,
    threshold: float = THRESHOLD,
    split: Split = "train",
    definition: Definition = "paper",
    samples: int = 100,
    check: bool = False,
    k: int = CHECK_K,
    limit: int | None = None,
    seed: int = 0,
    device: str = "auto",
    output: Path | None = None,
) -> dict[str, Any]:
    """Return the number of active units of each stochastic layer; write all variances.

    A unit is active if A_u = Var_x(E_q[u | x]) exceeds the threshold (Burda et al. 2015, section
    5.3); `active_units.csv` gets A_u of every unit, `removal.csv` what the check came to. Settings
    other than the usual ones get files of their own, see `result_name`.

    Args:
        path: A run folder or a checkpoint file.
        threshold: For A_u.
        split: Images to take the variance over.
        definition: `paper`, or `original-code`: the first 500 training images, and layers above
            the first from one sample of the layer below, uncorrected.
        samples: Draws of the layers below with `paper`.
        check: Evaluate the test set with and without the inactive units too.
        k: Samples an image of that check.
        limit: The first so many images alone, of the check's test images too; None for all.
        seed: Of binarisation and noise.
        device: `auto`, `cpu`, `cuda` or `mps`.
        output: Where to make a folder of the run's name for the results, in place of its own.

    Example:
        >>> len(active_units(run.folder, samples=2)["layers"])
        1

    Raises:
        ConfigError: An option out of range.
        CheckpointError: The checkpoint is missing, damaged or foreign.
        DataError: The data set is missing, damaged, or not the one trained on.
    """
    if definition not in get_args(Definition):
        raise ConfigError(unknown("definition", definition, get_args(Definition)))
    if not 1 <= samples <= BLOCK:
        raise ConfigError(f"samples must be in 1..{BLOCK}, got {samples}")
    run = TrainedRun(path, device=device, output=output)
    if definition == "original-code":
        split, images, samples = "train", run.images("train", ORIGINAL_IMAGES), 1
    else:
        images = run.images(split, limit)
    layers = unit_variances(
        run.model, images, samples=samples, seed=seed, binarisation=run.binarisation
    )
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
    name = result_name(run, settings)
    run.folder.write_active_units(table.assign(**settings), name=name)
    counts = [int((a > threshold).sum()) for a in layers]
    result = {
        **{key: value for key, value in settings.items() if key not in DIGESTS},
        "active": "+".join(map(str, counts)),
        "layers": counts,
        "csv": str(run.folder.path / f"active_units{name}.csv") if run.folder.saved else None,
        "check": None,
    }
    if check:
        kept = [torch.nonzero(a > threshold).flatten() for a in layers]
        found = result["check"] = check_removal(run, kept, k=k, limit=limit, seed=seed)
        units = {"active": result["active"], "threshold": threshold, "definition": definition}
        row = {**run.provenance(), "seed": seed, **units, **found}
        run.folder.write_removal(row, name=name)
    return result


def result_name(run: TrainedRun, settings: Mapping[str, Any]) -> str:
    """Return what follows `active_units` and `removal` in the names of the files of a count.

    It is empty for the record that reports show: threshold 0.01, definition `paper`, all training
    images, seed 0, and not fewer samples than before. Any other settings have files of their own.
    """
    usual = {"threshold": THRESHOLD, "definition": "paper", "split": "train", "seed": 0}
    wanted = {**usual, "images": len(run.dataset.train)}
    known = run.folder.recorded(
        run.folder.active_units, parameters=settings["parameters"], steps=settings["steps"]
    )
    before = 0 if known is None or "samples" not in known else int(known["samples"].iloc[0])
    record = all(settings[key] == value for key, value in wanted.items())
    if record and (known is None or settings["samples"] >= before):
        return ""
    where = "{definition}-{split}-n{images}-threshold{threshold:g}-samples{samples}-seed{seed}"
    return "-" + where.format(**settings)


def check_removal(
    run: TrainedRun, kept: Sequence[torch.Tensor], *, k: int, limit: int | None, seed: int
) -> dict[str, Any]:
    """Return the test NLL of the whole model and of one that has only the units `kept`.

    Both meet the same binarisation and the same noise, so the difference is paired; its standard
    error is over images. The whole model's estimates are those of `evaluate`, computed once.
    """
    images = run.images("test", limit)
    row = evaluate_run(run, k=[k], split="test", limit=limit, seed=seed, per_image=True)[0]
    whole = run.folder.read_per_image()[key_of(row).array_name()]
    noise = EvaluationNoise(seed, run.model.latents, units=kept)
    pruned = log_likelihoods(
        without_units(run.model, kept),
        images,
        ks=[k],
        noise=noise,
        binarisation=run.binarisation,
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
