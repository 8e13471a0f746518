"""What stands for the folder of a checkpoint outside of a run folder, and which has one."""

import errno
import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from iwae_cli.core.atomic_write import naming
from iwae_cli.core.errors import UsageError
from iwae_cli.runs.eval_csv import KEY
from iwae_cli.runs.folder import RunFolder

log = logging.getLogger("iwae")

READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}
PROBE_BYTES = 65536


class UnsavedResults(RunFolder):
    """Stands for the run folder of a checkpoint outside of one: nothing is written.

    The estimates of single images are kept for whoever asks again while the command runs.
    """

    saved = False

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.arrays: dict[str, NDArray[np.float64]] = {}

    def file(self, name: str) -> Path:
        """Raise UsageError: there is no such place."""
        raise UsageError(
            f"the checkpoint {self.path.name} is not that of a run folder: name a file with "
            "--output"
        )

    def read_evaluations(self) -> pd.DataFrame:
        """Return no rows."""
        return pd.DataFrame(columns=KEY)

    def read_per_image(self) -> dict[str, NDArray[np.float64]]:
        """Return what was added."""
        return self.arrays

    def add_evaluation(
        self, rows: Sequence[Mapping[str, Any]], per_image: Mapping[str, NDArray[np.float64]]
    ) -> None:
        """Keep the arrays."""
        self.arrays.update(per_image)

    def write_active_units(self, table: pd.DataFrame, *, name: str = "") -> None:
        """Write nothing."""

    def write_removal(self, row: Mapping[str, Any], *, name: str = "") -> None:
        """Write nothing."""

    def arrays_of(self, path: Path, *, parameters: str) -> dict[str, NDArray[Any]]:
        """Return none."""
        return {}

    def add_arrays_of(
        self, path: Path, arrays: Mapping[str, NDArray[Any]], *, parameters: str
    ) -> None:
        """Write nothing."""

    def write_gradients(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write nothing."""


class ReadOnlyFolder(UnsavedResults):
    """A run folder that this user may not write to: stored results are read, new ones not kept."""

    def file(self, name: str) -> Path:
        """Raise UsageError: it cannot be written."""
        raise UsageError(f"{self.path} cannot be written: name a file with --output")

    def read_evaluations(self) -> pd.DataFrame:
        """Return the rows of eval.csv."""
        return RunFolder.read_evaluations(self)

    def read_per_image(self) -> dict[str, NDArray[np.float64]]:
        """Return the arrays of per_image.npz and what was added."""
        return {**RunFolder.read_per_image(self), **self.arrays}

    def arrays_of(self, path: Path, *, parameters: str) -> dict[str, NDArray[Any]]:
        """Return the arrays of a file, none where it is missing or of other parameters."""
        return RunFolder.arrays_of(self, path, parameters=parameters)


def for_results(folder: RunFolder) -> RunFolder:
    """Return a folder that results go to, after a look whether they can; before the work.

    Raises:
        OSError: Its drive is full or broken.
    """
    if not folder.saved:
        return folder
    try:
        with naming(folder.path / "eval.csv"), tempfile.TemporaryFile(dir=folder.path) as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
        log.warning(
            "warning: %s cannot be written (%s): results are printed only; --output FOLDER keeps "
            "them elsewhere",
            folder.path,
            error.strerror,
        )
        return ReadOnlyFolder(folder.path)
    return folder


def run_folder_of(path: str | Path) -> tuple[RunFolder, Path]:
    """Return the run folder and the checkpoint file that `path`, either of them, stands for.

    A file outside a run folder, such as an exported model, or a second checkpoint in one, has none:
    what is found out about it is written nowhere unless a place is named.
    """
    path = Path(path)
    if path.is_dir():
        folder = RunFolder(path)
        return folder, folder.checkpoint
    folder = RunFolder(path.parent)
    own = path.name == folder.checkpoint.name and any(
        file.exists() for file in (folder.config, folder.environment, folder.metrics)
    )
    return (UnsavedResults(path) if path.exists() and not own else folder), path
