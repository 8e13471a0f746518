"""Importance weighted autoencoders: training, evaluation and active units."""

from typing import TYPE_CHECKING

from iwae_cli.core.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from iwae_cli.models.iwae import IWAE

__all__ = ["__version__", "load"]


def load(path: "str | Path") -> "IWAE":
    """Return the trained model of a checkpoint or run folder, on the CPU, in evaluation mode.

    Args:
        path: A `checkpoint.pt` or the run folder that holds one.

    Raises:
        CheckpointError: The file is missing, damaged or of another format.

    Example:
        >>> model = iwae_cli.load("outputs/runs/...")  # doctest: +SKIP
        >>> model.posterior_means(images)  # images: [N, D] in [0, 1]  # doctest: +SKIP
    """
    from iwae_cli.evaluation.trained_run import load_model

    return load_model(path)
