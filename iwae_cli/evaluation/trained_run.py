"""A trained run: the model of its checkpoint, the data it was trained on, its folder."""

import logging
from collections.abc import Sized
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from iwae_cli.core.atomic_write import writing
from iwae_cli.core.device import device_of, precision_of, products_of
from iwae_cli.core.errors import ConfigError, DataError, unknown
from iwae_cli.data import registry
from iwae_cli.data.arrays import Arrays
from iwae_cli.data.binarisation import Binarisation
from iwae_cli.data.dataset import SPLITS, Dataset, Split
from iwae_cli.models import likelihoods
from iwae_cli.runs.checkpoint import Checkpoint
from iwae_cli.runs.folder import RunFolder, run_name
from iwae_cli.runs.opening import opened
from iwae_cli.runs.unsaved import for_results

log = logging.getLogger("iwae")


class TrainedRun:
    """A checkpoint with its model and data set, and the folder that results go to.

    Args:
        path: A run folder or a checkpoint file.
        device: `auto`, `cpu`, `cuda` or `mps`.
        precision: Of the matrix products, whatever the model was trained in; `auto` is what is
            fast on the device.
        output: Where to make a folder of the run's name for results; None for the run's own
            folder, or nowhere where the checkpoint is outside of one.
        restore: False leaves the files of the run as they are, config.yaml included.
        data: Where the file of the user's training images is now, should it have moved.

    Raises:
        CheckpointError: The checkpoint is missing, damaged or foreign.
        DataError: The data set is not the one that the model was trained on.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        device: str = "auto",
        precision: str = "float32",
        output: Path | None = None,
        restore: bool = True,
        data: Path | None = None,
    ) -> None:
        self.folder, self.checkpoint = opened(path, restore=restore)
        self.device = device_of(device)
        self.precision = precision_of(precision, self.device)
        model = self.checkpoint.network().to(self.device)
        self.model = model.multiply_in(products_of(self.precision))
        self.dataset: Dataset = data_of(self.checkpoint, data)
        trained_on = self.checkpoint.data.hash
        if self.dataset.content_hash != trained_on:
            raise DataError(
                f"{path} was trained on other data than '{self.dataset.name}' now holds (content "
                f"{trained_on[:8]}, found {self.dataset.content_hash[:8]}); bring the same files"
            )
        if output:
            self.folder = RunFolder(output / self.name)
            with writing(self.folder.path / "eval.csv"):
                self.folder.path.mkdir(parents=True, exist_ok=True)
        self.folder = for_results(self.folder)

    @cached_property
    def name(self) -> str:
        """The run's name, whatever the checkpoint file is called."""
        if self.folder.saved:
            return self.folder.path.name
        settings = self.checkpoint.settings
        return run_name(
            dataset=self.dataset.name,
            sizes=settings.arch.sizes,
            objective=settings.objective["name"],
            k=settings.k,
            seed=settings.seed,
            identity=self.checkpoint.identity,
        )

    @property
    def binarisation(self) -> Binarisation:
        """That of the data, or `NONE` where the likelihood takes grey or real values."""
        return self.dataset.binarisation.if_wanted(self.model.likelihood.binarises)

    def images(self, split: Split, limit: int | None = None) -> np.ndarray[Any, np.dtype[Any]]:
        """Return the first `limit` images of a split, all with None.

        Raises:
            ConfigError: There is no such split, or it has no images.
        """
        if split not in SPLITS:
            raise ConfigError(unknown("split", split, SPLITS))
        if limit is not None and limit < 1:
            raise ConfigError(f"limit must be at least 1, got {limit}")
        images = self.dataset.split(split)
        say_if_all(limit, images, f"{split} of {self.dataset.label}")
        images = images[:limit]
        if not len(images):
            raise ConfigError(f"the split '{split}' of {self.dataset.label} has no images")
        return images

    def provenance(self) -> dict[str, Any]:
        """Return the columns of a result that say which model and data it belongs to."""
        training = self.checkpoint.training
        return {
            "run": self.name,
            "passes": training.pass_index,
            "steps": training.steps,
            "data": self.dataset.label,
            "binarization": self.binarisation.name,
            "likelihood": self.model.likelihood.name,
            "identity": self.checkpoint.identity,
            "parameters": self.checkpoint.parameters_digest,
        }


def data_of(stored: Checkpoint, moved: Path | None = None) -> Dataset:
    """Return the data that a run names, or those of the user's file where that has moved to.

    Raises:
        DataError: They are missing or damaged.
    """
    source = registry.find(stored.settings.dataset)
    real = likelihoods.find(stored.settings.likelihood).real
    if not isinstance(source, Arrays):
        return registry.loaded(source, real=real)
    try:
        return registry.loaded(source.moved(str(moved)) if moved else source, real=real)
    except DataError as error:
        if moved or Path(source.train).exists():
            raise
        raise DataError(f"{error}; should it have moved: --data FILE of eval and encode") from None


def is_own(path: str | Path, data: Path) -> bool:
    """Whether a file holds the user's images that a run was trained on, by their hash.

    Args:
        path: A run folder or a checkpoint file.
        data: The file.
    """
    _, stored = opened(path)
    if stored.settings.dataset["name"] != "arrays":
        return False
    log.disabled = True  # shares of a file that is another's are no news
    try:
        return data_of(stored, data).content_hash == stored.data.hash
    except DataError:
        return False
    finally:
        log.disabled = False


def say_if_all(limit: int | None, images: Sized, what: str) -> None:
    """Log that there are fewer images than were asked for."""
    if limit is not None and limit > len(images) > 0:
        log.info("%s has %d images: all of them are taken", what, len(images))
