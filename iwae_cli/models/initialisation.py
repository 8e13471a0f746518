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
    std_image: Tensor | None = None,
) -> None:
    """Draw the weights of linear layers from Glorot's uniform distribution, with biases of zero.

    Other layers draw their parameters by themselves, from a seed that the generator gives.

    Args:
        model: On the CPU.
        init: `glorot`, or `original_code`: each layer from numpy's `RandomState(123)`, so
            that layers of one shape start equal, whatever the seed.
        generator: Source of the weights with `glorot`; on the CPU.
        mean_image: Mean training image, [D]: the output bias starts so that this is the mean of
            p(x | h). None leaves it at zero.
        std_image: Standard deviation of each pixel over the training images, [D], for a likelihood
            with noise to learn; None for 1.
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
        elif callable(draw := getattr(layer, "reset_parameters", None)):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
                draw()
    if mean_image is not None:
        std = torch.ones_like(mean_image) if std_image is None else std_image
        model.generative_layers[0].start_at(mean_image, std)
