"""What a trained run draws and encodes: images of its prior, latents of a split, pictures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iwae_cli.core.atomic_write import write_arrays, writing
from iwae_cli.core.device import device_of
from iwae_cli.core.errors import ConfigError
from iwae_cli.data.dataset import Split
from iwae_cli.evaluation import encoding
from iwae_cli.evaluation.pictures import pictures, prior_samples
from iwae_cli.models.loading import model_of
from iwae_cli.randomness import EvaluationNoise
from iwae_cli.runs import checkpoint
from iwae_cli.runs.folder import run_folder_of
from iwae_cli.trained import TrainedRun


def write_pictures(path: str | Path, *, seed: int = 0, device: str = "auto") -> Path | None:
    """Write pictures.npz of a run; see `evaluation.pictures.pictures` for its keys.

    Args:
        path: A run folder or a checkpoint file.
        seed: Of binarisation and noise.
        device: `auto`, `cpu`, `cuda` or `mps`.

    Returns:
        The file, or None where the images have no height and width and nothing is written.
    """
    run = TrainedRun(path, device=device)
    arrays = pictures(run.model, run.dataset, seed=seed)
    if not arrays:
        return None
    run.folder.write_pictures(arrays)
    return run.folder.pictures


def sample(
    path: str | Path, *, count: int = 100, seed: int = 0, device: str = "auto"
) -> NDArray[np.float32]:
    """Return Bernoulli means at draws from the prior of a trained model, [count, H, W].

    Needs the checkpoint alone, not the data set.

    Args:
        path: A run folder or a checkpoint file.
        count: Images.
        seed: Of the noise.
        device: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        ConfigError: A count below 1, or images without height and width.
        CheckpointError: The checkpoint is missing, damaged or foreign.
    """
    if count < 1:
        raise ConfigError(f"count must be at least 1, got {count}")
    _, file = run_folder_of(path)
    content = checkpoint.load(file)
    if content["data"]["image_shape"] is None:
        raise ConfigError(
            f"the images of {content['data']['label']} have no height and width to draw them by; "
            "'iwae encode' gives the latents as numbers"
        )
    height, width = content["data"]["image_shape"]
    model = model_of(content, file).to(device_of(device))
    return prior_samples(model, count, seed=seed).reshape(count, height, width)


def encode(
    path: str | Path,
    *,
    split: Split = "test",
    k: int = 50,
    samples: int = 1,
    limit: int | None = None,
    seed: int = 0,
    device: str = "auto",
    output: Path | None = None,
) -> dict[str, Any]:
    """Write posterior means and resampled latents of a split; return what was written.

    The npz holds, in the order of the images, for each stochastic layer l = 1, 2, ...: `mean_l`
    [N, H] and `sample_l` [N, samples, H]; and `ess` [N] and, as JSON, `settings`. See
    `evaluation.encoding.Encoding`.

    Args:
        path: A run folder or a checkpoint file.
        split: `train`, `valid` or `test`.
        k: Draws of the recognition network an image.
        samples: Samples to keep of an image, chosen by importance weight.
        limit: Use the first so many images alone.
        seed: Of binarisation, noise and choice.
        device: `auto`, `cpu`, `cuda` or `mps`.
        output: The file; None for `encoding_<split>.npz` in the run's folder.

    Raises:
        ConfigError: A number below 1, an unknown split or device.
        CheckpointError: The checkpoint is missing, damaged or foreign.
        DataError: The data set is missing, damaged, or not the one trained on.
        IwaeError: The file cannot be written.
    """
    for name, value in (("k", k), ("samples", samples)):
        if value < 1:
            raise ConfigError(f"{name} must be at least 1, got {value}")
    run = TrainedRun(path, device=device)
    images = run.images(split, limit)
    file = output or run.folder.path / f"encoding_{split}.npz"
    with writing(file):  # before the work, not after it
        file.parent.mkdir(parents=True, exist_ok=True)
    encoded = encoding.encode(
        run.model,
        images,
        k=k,
        samples=samples,
        noise=EvaluationNoise(seed, run.model.latents),
        dynamic=run.dynamic,
    )
    settings = {**run.provenance(), "split": split, "images": len(images)}
    settings |= {"k": k, "samples": samples, "seed": seed}
    arrays: dict[str, NDArray[Any]] = {}
    for level, (mean, drawn) in enumerate(zip(encoded.means, encoded.samples, strict=True), 1):
        arrays |= {f"mean_{level}": mean, f"sample_{level}": drawn}
    arrays |= {"ess": encoded.ess, "settings": np.array(json.dumps(settings))}
    with writing(file):
        write_arrays(file, arrays)
    shapes = {name: list(array.shape) for name, array in arrays.items() if array.ndim}
    median = float(np.median(encoded.ess))
    return {**settings, "median_ess": median, "file": str(file), "arrays": shapes}
