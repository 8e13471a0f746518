"""`log=tensorboard`: event files for TensorBoard, by the writer that comes with torch."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from iwae_cli.core.trackers.base import Options, TrackedRun

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter


@dataclass(frozen=True)
class TensorBoard(Options):
    """Event files below `folder`, in a folder named after the run."""

    folder: str = "outputs/tensorboard"
    name: ClassVar[str] = "tensorboard"
    package: ClassVar[str] = "tensorboard"

    @contextmanager
    def open(self, run: TrackedRun, *, passes: int) -> "Iterator[Events]":
        """Write into the run's folder; what an interrupted run wrote after `passes` is dropped."""
        from torch.utils.tensorboard.writer import SummaryWriter

        folder = str(Path(self.folder, run.folder.name))
        with SummaryWriter(folder, purge_step=passes + 1) as writer:
            if not passes:
                lines = "\n".join(f"    {key}: {value}" for key, value in run.config.items())
                writer.add_text("config", lines)
            yield Events(writer)


class Events:
    """A run's event file."""

    def __init__(self, writer: "SummaryWriter") -> None:
        self.writer = writer

    def on_pass(self, number: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        for name, value in values.items():
            self.writer.add_scalar(f"training/{name}", value, number)

    def results(self, number: int, values: Mapping[str, float]) -> None:
        """Add the results as points."""
        for name, value in values.items():
            self.writer.add_scalar(f"results/{name}", value, number)

    def picture(self, number: int, name: str, image: NDArray[np.float32]) -> None:
        """Add an image."""
        self.writer.add_image(name, image, number, dataformats="HW")
