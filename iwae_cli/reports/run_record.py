"""What is known of one run."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from iwae_cli.runs.folder import RunFolder
from iwae_cli.runs.state import State, state_of

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class RunRecord:
    """What a run folder holds; tables and mappings are empty where there is no such file.

    Attributes:
        folder: Where it is, or was when `source` was written.
        config: config.yaml.
        environment: environment.json.
        metrics: metrics.csv; of a run from a `source` the last pass, with the seconds of all.
        evaluations: eval.csv.
        active_units: active_units.csv; from a `source` the units have no variance.
        removal: removal.csv.
        per_image: per_image.npz.
        pictures: pictures.npz.
        source: The runs.csv of a report that it comes from, if it is not from a folder.
        recorded_state: What that file says of its state.
    """

    folder: RunFolder
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    metrics: pd.DataFrame
    evaluations: pd.DataFrame
    active_units: pd.DataFrame
    removal: pd.DataFrame
    per_image: Arrays
    pictures: Arrays
    source: Path | None = None
    recorded_state: State | None = None

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.path.name

    @property
    def passes(self) -> int:
        """Passes that metrics.csv has."""
        return int(self.metrics["pass"].iloc[-1]) if len(self.metrics) else 0

    @property
    def total_passes(self) -> int | None:
        """Passes of the whole schedule, if the files tell."""
        if "total_passes" in self.environment:
            return int(self.environment["total_passes"])
        schedule = self.config["optimizer"]  # a run older than that field
        if "stages" in schedule:
            return int(3 ** schedule["stages"] - 1) // 2
        return int(schedule["passes"]) if "passes" in schedule else None

    @cached_property
    def state(self) -> State:
        """Finished, interrupted, failed or running, when first asked."""
        if self.recorded_state:
            return self.recorded_state
        return state_of(self.folder, passes=self.passes, total=self.total_passes)
