"""pythae's IWAE with the paper's layer sizes; needs the extra `bench`."""

from typing import Any

from pythae.models import IWAE, IWAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from torch import Tensor, nn


class Encoder(BaseEncoder):
    """784 - 200 - 200 - two heads of 50."""

    def __init__(self) -> None:
        BaseEncoder.__init__(self)
        self.layers = nn.Sequential(nn.Linear(784, 200), nn.Tanh(), nn.Linear(200, 200), nn.Tanh())
        self.mean, self.log_covariance = nn.Linear(200, 50), nn.Linear(200, 50)

    def forward(self, x: Tensor) -> Any:  # noqa: ANN401  (pythae annotates nothing)
        """Return mean and log variance of the latents."""
        features = self.layers(x.reshape(len(x), -1))
        return ModelOutput(
            embedding=self.mean(features), log_covariance=self.log_covariance(features)
        )


class Decoder(BaseDecoder):
    """50 - 200 - 200 - 784 Bernoulli means."""

    def __init__(self) -> None:
        BaseDecoder.__init__(self)
        self.layers = nn.Sequential(
            nn.Linear(50, 200),
            nn.Tanh(),
            nn.Linear(200, 200),
            nn.Tanh(),
            nn.Linear(200, 784),
            nn.Sigmoid(),
        )

    def forward(self, z: Tensor) -> Any:  # noqa: ANN401  (pythae annotates nothing)
        """Return the means of the pixels."""
        return ModelOutput(reconstruction=self.layers(z))


def pythae_iwae(k: int) -> IWAE:
    """Return pythae's IWAE with k samples."""
    settings = IWAEConfig(
        input_dim=(784,), latent_dim=50, number_samples=k, reconstruction_loss="bce"
    )
    return IWAE(settings, Encoder(), Decoder())
