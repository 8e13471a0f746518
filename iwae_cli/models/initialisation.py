"""How the parameters of a model start."""

import numpy as np
import torch
from torch import Tensor, nn

from iwae_cli.models.hierarchical import HierarchicalModel

# Of the authors' published code
ORIGINAL_SEED = 123


def initialise(
    model: HierarchicalModel,
    init: str,
    *,
    generator: torch.Generator,
    mean_image: Tensor | None,
) -> None:
    """Draw the weights from Glorot's uniform distribution and set the biases to zero.

    Args:
        model: On the CPU.
        init: `glorot`, or `original_code`: each layer from numpy's `RandomState(123)`, so
            that layers of one shape start equal, whatever the seed.
        generator: Source of the weights with `glorot`; on the CPU.
        mean_image: Mean training image, [D]: the output bias starts at the logit of it,
            clipped to [0.001, 0.999]. None leaves it at zero.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.bias)
            if init == "original_code":
                bound = np.sqrt(6 / (layer.in_features + layer.out_features))
                shape = (layer.in_features, layer.out_features)
                weight = np.random.RandomState(ORIGINAL_SEED).uniform(-bound, bound, shape)
                layer.weight.data.copy_(torch.from_numpy(weight.T))
            else:
                nn.init.xavier_uniform_(layer.weight, generator=generator)
    if mean_image is not None:
        bias = torch.logit(mean_image.clamp(0.001, 0.999))
        model.generative[0].logits.bias.data.copy_(bias)  # type: ignore[union-attr, operator]  # a BernoulliLayer
