"""What Python users hold: a trained model that takes images as they come."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from iwae_cli.core.device import device_of
from iwae_cli.core.errors import ConfigError
from iwae_cli.data import pixels
from iwae_cli.data.binarisation import DYNAMIC, Binarisation
from iwae_cli.evaluation.encoding import Encoding, encode_images
from iwae_cli.evaluation.likelihood import Likelihood, log_likelihoods
from iwae_cli.evaluation.noise import EvaluationNoise
from iwae_cli.evaluation.visualisation import prior_samples, reconstructions
from iwae_cli.runs.opening import opened
from iwae_cli.runs.unsaved import run_folder_of

Array = NDArray[np.float32]


class TrainedModel:
    """The model of a checkpoint or run folder; it needs no data set.

    Images are arrays or tensors [N, D], [N, H, W], [N, 1, H, W] or [N, H, W, 1]: floats in [0, 1],
    or whole numbers up to 255, which are divided by 255 unless all are 0 or 1. Grey values are
    binarised once, with the grey value as probability, as in `iwae eval`; other likelihoods than
    `bernoulli` take them as they are, and `gaussian` any real numbers.

    Attributes:
        path: The checkpoint.
        config: The run's configuration, as nested plain types.
        network: The model itself, on its device.
        image_shape: (height, width) of an image, or None.

    Args:
        path: A run folder or a checkpoint file.
        device: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        CheckpointError: The file is missing, damaged or of another format.
    """

    def __init__(self, path: str | Path, *, device: str = "cpu") -> None:
        _, self.path = run_folder_of(path)
        _, stored = opened(path)
        self.config: dict[str, Any] = stored.config
        self.network = stored.network().to(device_of(device))
        self.image_shape = stored.data.image_shape

    def __repr__(self) -> str:
        objective, k = self.config["objective"]["name"], self.config["k"]
        latents = "+".join(map(str, self.network.latents))
        return f"TrainedModel({objective}, k={k}, latents {latents}: {self.path})"

    def sample(self, count: int = 25, *, seed: int = 0) -> Array:
        """Return means of p(x | h) at draws from the prior, [count, H, W], or [count, D] if flat.

        Example:
            >>> model.sample(3).shape
            (3, 8, 8)
        """
        if count < 1:
            raise ConfigError(f"count must be at least 1, got {count}")
        return self.shaped(prior_samples(self.network, count, seed=seed))

    def log_likelihood(self, images: ArrayLike, *, k: int = 5000, seed: int = 0) -> Likelihood:
        """Return log p(x) of each image by L_k, nats, with effective sample sizes.

        Example:
            >>> model.log_likelihood(images, k=10).log_p.shape
            (6,)
        """
        if k < 1:
            raise ConfigError(f"k must be at least 1, got {k}")
        noise = EvaluationNoise(seed, self.network.latents)
        return log_likelihoods(
            self.network, self.rows(images), ks=[k], noise=noise, binarisation=self.binarisation
        )[0]

    def encode(
        self, images: ArrayLike, *, k: int = 50, samples: int = 1, seed: int = 0
    ) -> Encoding:
        """Return posterior means and samples, an array for each stochastic layer.

        Args:
            images: See the class.
            k: Draws of q an image, of which samples are chosen by their importance weights.
            samples: To keep of an image.
            seed: Of binarisation, noise and choice.

        Example:
            >>> model.encode(images).means[0].shape
            (6, 50)
        """
        if min(k, samples) < 1:
            raise ConfigError(f"k and samples must be at least 1, got {k} and {samples}")
        noise = EvaluationNoise(seed, self.network.latents)
        return encode_images(
            self.network,
            self.rows(images),
            k=k,
            samples=samples,
            noise=noise,
            binarisation=self.binarisation,
        )

    def reconstruct(self, images: ArrayLike, *, seed: int = 0) -> Array:
        """Return E[x | h_1] at the posterior mean of h_1, [N, H, W], or [N, D] if flat.

        Example:
            >>> model.reconstruct(images).shape
            (6, 8, 8)
        """
        noise = EvaluationNoise(seed, self.network.latents)
        rows = noise.binarise(self.rows(images), 0, self.binarisation)
        x = torch.from_numpy(rows).to(next(self.network.parameters()))
        return self.shaped(reconstructions(self.network, x))

    @property
    def binarisation(self) -> Binarisation:
        """Of images that someone brings: zeros and ones stay what they are."""
        return DYNAMIC.if_wanted(self.network.likelihood.binarises)

    def rows(self, images: ArrayLike) -> Array:
        """Return images as rows of pixels, in [0, 1] or, for `gaussian`, real, float32, [N, D].

        Raises:
            DataError: They are no images, or not of the size that the model was trained on.
        """
        if isinstance(images, torch.Tensor):
            images = images.detach().cpu().numpy()
        real = self.network.likelihood.real
        return pixels.rows(np.asarray(images), self.network.data_dim, "the images", real=real)

    def shaped(self, rows: Array) -> Array:
        """Return rows as images where these have a height and a width."""
        return rows if self.image_shape is None else rows.reshape(-1, *self.image_shape)
