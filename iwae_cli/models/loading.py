"""A network of a config, empty or with given parameters."""

from collections.abc import Mapping

import torch
from torch import Tensor

from iwae_cli.core.config import Config
from iwae_cli.core.errors import ConfigError
from iwae_cli.models import likelihoods
from iwae_cli.models.iwae import IWAE


def network_of(settings: Config, pixels: int) -> IWAE:
    """Return the network of a config; its parameters are not drawn, and on the default device."""
    return IWAE(pixels, settings.arch, likelihoods.find(settings.likelihood))


def check_parameters(settings: Config, pixels: int, parameters: Mapping[str, Tensor]) -> None:
    """Check that a network has just these parameters, before memory is taken for it.

    Args:
        settings: The config of the network.
        pixels: Of an image.
        parameters: By name.

    Raises:
        ValueError: A name or shape is another, or a value is NaN or infinite.
    """
    other = "the parameters of another architecture"
    arch = settings.arch
    if len(arch.latents) + sum(map(len, arch.hidden)) > len(parameters):
        raise ValueError(other)
    try:
        with torch.device("meta"):
            expected = network_of(settings, pixels).state_dict()
    except (RuntimeError, OverflowError):  # a size that no tensor can have
        raise ValueError(other) from None
    except ConfigError as error:
        raise ValueError(f"config: {error}") from None
    shapes = {name: tensor.shape for name, tensor in parameters.items()}
    if shapes != {name: tensor.shape for name, tensor in expected.items()}:
        raise ValueError(other)
    for name, tensor in parameters.items():
        if not bool(tensor.isfinite().all()):
            raise ValueError(f"the parameter {name} is NaN or infinite")
