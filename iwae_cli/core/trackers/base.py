"""What a tracker is: it is told of each pass, of the results and of the pictures of a run."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker knows of a run.

    Attributes:
        folder: The run folder, whose name is the run's; a tracker may keep a file of its own there.
        config: The config, flat: dotted keys and plain values.
    """

    folder: Path
    config: Mapping[str, Any]


class Tracker(Protocol):
    """A run that is being tracked."""

    def on_pass(self, number: int, values: Mapping[str, float]) -> None:
        """Take the metrics of a pass, from 1; NaN are left out."""

    def results(self, number: int, values: Mapping[str, float]) -> None:
        """Take the results of a trained run, by name, after so many passes."""

    def picture(self, number: int, name: str, image: NDArray[np.float32]) -> None:
        """Take a picture in [0, 1], [H, W], after so many passes."""


@dataclass(frozen=True)
class Options(ABC):
    """Options of a tracker.

    Attributes:
        name: Of the tracker, the file and the YAML.
        package: The package that it needs, which the extra of the tracker's name installs.
    """

    name: ClassVar[str]
    package: ClassVar[str]

    @abstractmethod
    def open(self, run: TrackedRun, *, passes: int) -> AbstractContextManager[Tracker]:
        """Begin to track a run, or go on with it after so many passes."""
