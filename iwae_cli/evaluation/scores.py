"""Log p of images that are in no data set, an image a row: for outlier detection, say."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from iwae_cli.core.atomic_write import write_table, writing
from iwae_cli.core.errors import ConfigError
from iwae_cli.data.arrays import read_images
from iwae_cli.evaluation.trained_model import TrainedModel
from iwae_cli.runs.unsaved import run_folder_of


def score(
    path: str | Path,
    data: str | Path,
    *,
    k: int = 5000,
    limit: int | None = None,
    seed: int = 0,
    device: str = "auto",
    output: Path | None = None,
) -> dict[str, Any]:
    """Write a CSV with log p(x) of each image of a file by L_k; return what was written.

    Columns: `image` (from 0), `log_p` (nats), `se` (standard error of the sampling, to first
    order, nats) and `ess` (effective sample size, in [1, k]). eval.csv is left alone.

    Args:
        path: A run folder or a checkpoint file.
        data: A file of images, see `data.array_files`.
        k: Samples an image.
        limit: Use the first so many images alone.
        seed: Of binarisation and noise.
        device: `auto`, `cpu`, `cuda` or `mps`.
        output: The folder for `scores_<stem of data>.csv`; None for the run's, where there is one.

    Example:
        >>> np.save("new.npy", images)
        >>> score(run.folder, "new.npy", k=10)["images"]
        6

    Raises:
        ConfigError: A k below 1.
        CheckpointError: The checkpoint is missing, damaged or foreign.
        DataError: The file is missing or damaged, or holds no images of the model's size.
        IwaeError: The CSV cannot be written.
    """
    if k < 1:
        raise ConfigError(f"k must be at least 1, got {k}")
    model = TrainedModel(path, device=device)
    images = model.rows(read_images(str(data)))[:limit]
    folder, _ = run_folder_of(path)
    name = f"scores_{Path(data).stem}.csv"
    file = output / name if output else folder.file(name)
    with writing(file):  # before the work, not after it
        file.parent.mkdir(parents=True, exist_ok=True)
    found = model.log_likelihood(images, k=k, seed=seed)
    se = np.sqrt(np.maximum(1 / found.ess - 1 / k, 0)) if k > 1 else np.full(len(images), np.nan)
    columns = {"image": range(len(images)), "log_p": found.log_p, "se": se, "ess": found.ess}
    with writing(file):
        write_table(file, pd.DataFrame(columns))
    row = found.summary()
    names = ("k", "images", "nll", "se_images", "se_mc", "images_per_second")
    about = {name: row[name] for name in names}
    return {"run": folder.path.resolve().stem, "data": str(data), **about, "file": str(file)}
