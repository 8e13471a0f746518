"""A model without some of its latent units."""

import copy
from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from iwae_cli.models.conditional import ConditionalLayer
from iwae_cli.models.distributions import Gaussian
from iwae_cli.models.iwae import IWAE
from iwae_cli.models.layers import DenseNetwork, GaussianLayer


def without_units(model: IWAE, kept: Sequence[Tensor]) -> IWAE:
    """Return a copy of `model` that has only the units `kept`, indices for each stochastic layer.

    A removed unit is gone from q, from its prior or conditional, and from the input of every
    network that read it.
    """
    pruned = copy.deepcopy(model)
    pruned.latents = tuple(len(units) for units in kept)
    for level, units in enumerate(kept):
        pruned.recognition[level] = with_outputs(pruned.recognition[level], units)
        keep_inputs(pruned.generative[level], units)
        if level + 1 < len(kept):
            keep_inputs(pruned.recognition[level + 1], units)
            pruned.generative[level + 1] = with_outputs(pruned.generative[level + 1], units)
    return pruned


def with_outputs(layer: nn.Module, units: Tensor) -> nn.Module:
    """Return a layer whose Gaussian has only `units`."""
    if not isinstance(layer, GaussianLayer):
        return SomeOutputs(layer, units)
    for head in (layer.mean, layer.log_std):
        head.weight = nn.Parameter(head.weight.data[units])
        head.bias = nn.Parameter(head.bias.data[units])
    return layer


class SomeOutputs(ConditionalLayer[Gaussian]):
    """Some of the units of another layer's Gaussian."""

    def __init__(self, layer: nn.Module, units: Tensor) -> None:
        super().__init__()
        self.layer, self.units = layer, units

    def forward(self, inputs: Tensor) -> Gaussian:
        """Return the Gaussian of these units, for the layer's own inputs."""
        return Gaussian(*(part[..., self.units] for part in self.layer(inputs)))


def keep_inputs(layer: nn.Module, units: Tensor) -> None:
    """Keep only `units` of the inputs of a layer."""
    linear = [module for module in layer.modules() if isinstance(module, nn.Linear)]
    hidden = len(cast(DenseNetwork, layer.network)) > 0
    for first in linear[:1] if hidden else linear:  # without hidden layers the heads read them
        first.weight = nn.Parameter(first.weight.data[:, units])
