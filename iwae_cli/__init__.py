"""Importance weighted autoencoders: training, evaluation and active units.

import iwae_cli as iwae
run = iwae.train("dataset=digits", "k=5")
model = iwae.load(run.folder)
model.log_likelihood(images, k=5000)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from iwae_cli.core.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from iwae_cli.core.config import Config
    from iwae_cli.evaluation.active_units import active_units
    from iwae_cli.evaluation.encoding import encode
    from iwae_cli.evaluation.gradients import gradients
    from iwae_cli.evaluation.sandwich import sandwich
    from iwae_cli.evaluation.scores import score
    from iwae_cli.evaluation.trained_model import TrainedModel
    from iwae_cli.evaluation.visualisation import sample
    from iwae_cli.runs.export import export
    from iwae_cli.training.run import RunResult

__all__ = ["__version__", "active_units", "encode", "evaluate", "export", "gradients", "list_runs"]
__all__ += ["load", "sample", "sandwich", "score", "train", "verify"]
# Where that lies which commands call as it is; importing it takes long
COMMANDS = {
    "active_units": "iwae_cli.evaluation.active_units",
    "encode": "iwae_cli.evaluation.encoding",
    "export": "iwae_cli.runs.export",
    "gradients": "iwae_cli.evaluation.gradients",
    "sample": "iwae_cli.evaluation.visualisation",
    "sandwich": "iwae_cli.evaluation.sandwich",
    "score": "iwae_cli.evaluation.scores",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  (any of them)
    if name in COMMANDS:
        return getattr(import_module(COMMANDS[name]), name)
    raise AttributeError(f"module 'iwae_cli' has no attribute '{name}'")


def train(*overrides: str) -> "RunResult":
    """Train the run that `iwae train` trains with these overrides, or resume it.

    Args:
        overrides: As on the command line, each `key=value`.

    Raises:
        ConfigError: An unknown key, a value out of range, or several runs.
        DataError: The data set is missing or damaged.

    Example:
        >>> run = train("dataset=digits", "k=5", "optimizer.passes=1")
        >>> run.passes
        1
    """
    from iwae_cli.cli.launch import plan
    from iwae_cli.training.run import run

    return run(plan(overrides, multirun=False).points[0].config)


def load(path: "str | Path") -> "TrainedModel":
    """Return the trained model of a checkpoint or run folder, on the CPU.

    Args:
        path: A `checkpoint.pt` or the run folder that holds one.

    Raises:
        CheckpointError: The file is missing, damaged or of another format.

    Example:
        >>> load(run.folder).sample(3).shape
        (3, 8, 8)
    """
    from iwae_cli.evaluation.trained_model import TrainedModel

    return TrainedModel(path)


def evaluate(path: "str | Path", **options: Any) -> "pd.DataFrame":  # noqa: ANN401  (those of `evaluation.evaluate`)
    """Return what `iwae eval` prints and stores: a row for each k, nats per image.

    Args:
        path: A run folder or a checkpoint file.
        options: `k` (a list), `split`, `limit`, `seed`, `estimator`, `proposal`, `precision`,
            `device`; see `evaluation.evaluate.evaluate`.

    Example:
        >>> evaluate(run.folder, k=[1, 10], limit=20)["k"].tolist()
        [1, 10]
    """
    import pandas as pd

    from iwae_cli.evaluation.evaluate import evaluate as rows

    return pd.DataFrame(rows(path, **options))


def list_runs(folder: "str | Path" = "outputs") -> "pd.DataFrame":
    """Return the runs below a folder, a row each, as `iwae runs` lists them.

    Example:
        >>> list_runs()["state"].tolist()
        ['finished']
    """
    import warnings
    from pathlib import Path

    import pandas as pd

    from iwae_cli.cli.runs import listed
    from iwae_cli.reports.read_runs import read_runs

    found, left_out = read_runs(Path(folder), arrays=False)
    for one in left_out:
        warnings.warn(f"{one.path}: {one.reason}", stacklevel=2)
    return pd.DataFrame(listed(found) if found else [])


def verify(path: "str | Path", *, images: int = 100) -> "pd.DataFrame":
    """Return what `iwae verify` checks of a run: a row for each check, and whether it holds.

    Args:
        path: A run folder.
        images: Evaluated again, in float64 by plain formulas.

    Example:
        >>> bool(verify(run.folder, images=5)["holds"].all())
        True
    """
    from dataclasses import replace

    import pandas as pd

    from iwae_cli.evaluation.verify import verify as checked
    from iwae_cli.training.resolve import prepare

    def identity_of(settings: "Config") -> str:
        return prepare(replace(settings, device="cpu")).identity

    return pd.DataFrame(checked(path, identity_of=identity_of, images=images))
