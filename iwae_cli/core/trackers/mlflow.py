"""`log=mlflow`: a run of MLflow, in a folder of files unless a server is named."""

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from iwae_cli.core.atomic_write import write_atomically
from iwae_cli.core.errors import Stopped, TrackerError
from iwae_cli.core.trackers.base import Options, TrackedRun

if TYPE_CHECKING:
    from mlflow import MlflowClient

LONGEST_PARAMETER = 500


@dataclass(frozen=True)
class Mlflow(Options):
    """A run of an experiment at a tracking URI; without one, files below `folder`."""

    uri: str | None = None
    folder: str = "outputs/mlruns"
    experiment: str = "iwae"
    name: ClassVar[str] = "mlflow"
    package: ClassVar[str] = "mlflow"

    @contextmanager
    def open(self, run: TrackedRun, *, passes: int) -> "Iterator[MlflowRun]":
        """Go on with the run whose id is in the run folder, or begin one."""
        uri = self.uri or os.environ.get("MLFLOW_TRACKING_URI")
        if not uri:
            os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"  # which MLflow 3 asks for
            uri = Path(self.folder).absolute().as_uri()
        from mlflow.exceptions import MlflowException

        try:
            with tracked(uri, self.experiment, run) as told:
                yield told
        except MlflowException as error:
            said = " ".join(str(error).split())
            raise TrackerError(
                f"log=mlflow at {uri}: {said}; what was trained is kept, and the same command goes "
                "on with it, with log=none too"
            ) from None


@contextmanager
def tracked(uri: str, experiment: str, run: TrackedRun) -> "Iterator[MlflowRun]":
    """Track a run at a URI; its status there is how the block ended."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    note = run.folder / "mlflow.run"
    if not note.exists():
        write_atomically(note, begin(client, experiment, run).encode())
    told = MlflowRun(client, note.read_text())
    client.update_run(told.identifier, status="RUNNING")
    status = "FAILED"
    try:
        yield told
        status = "FINISHED"
    except Stopped:
        status = "KILLED"
        raise
    finally:
        client.set_terminated(told.identifier, status)


def begin(client: "MlflowClient", experiment: str, run: TrackedRun) -> str:
    """Return the id of a new run, with its config as parameters."""
    known = client.get_experiment_by_name(experiment)
    owner = known.experiment_id if known else client.create_experiment(experiment)
    identifier = str(client.create_run(owner, run_name=run.folder.name).info.run_id)
    for key, value in run.config.items():
        client.log_param(identifier, key, str(value)[:LONGEST_PARAMETER])
    return identifier


class MlflowRun:
    """A run of MLflow."""

    def __init__(self, client: "MlflowClient", identifier: str) -> None:
        self.client, self.identifier = client, identifier
        history = client.get_metric_history(identifier, "train_bound")
        self.last = max((point.step for point in history), default=0)

    def on_pass(self, number: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve, unless an interrupted run had added that one before."""
        if number > self.last:
            self.results(number, values)

    def results(self, number: int, values: Mapping[str, float]) -> None:
        """Add numbers; MLflow keeps no NaN."""
        for name, value in values.items():
            if not math.isnan(value):
                self.client.log_metric(self.identifier, name, value, step=number)

    def picture(self, number: int, name: str, image: NDArray[np.float32]) -> None:
        """Add an image as an artifact."""
        from PIL import Image

        pixels = Image.fromarray((255 * np.clip(image, 0, 1)).round().astype(np.uint8))
        self.client.log_image(self.identifier, pixels, artifact_file=f"{name}.png")
