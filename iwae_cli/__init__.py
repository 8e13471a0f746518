"""Importance weighted autoencoders: training, evaluation and active units.

import iwae_cli as iwae
run = iwae.train("dataset=digits", "k=5")
model = iwae.load(run.folder)
model.log_likelihood(images, k=5000)
"""

from typing import TYPE_CHECKING, Any

from iwae_cli.core.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from iwae_cli.evaluation.trained_model import TrainedModel
    from iwae_cli.training.run import RunResult

__all__ = ["__version__", "evaluate", "list_runs", "load", "train"]


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
        options: `k` (a list), `split`, `limit`, `seed`, `estimator`, `precision`, `device`; see
            `evaluation.evaluate.evaluate`.

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
