"""Images of zeros and ones, drawn from grey values."""

import torch
from torch import Tensor


def binarise(grey: Tensor, generator: torch.Generator) -> Tensor:
    """Return images of zeros and ones, each pixel 1 with its grey value as probability."""
    uniform = torch.rand(grey.shape, generator=generator, device=grey.device, dtype=grey.dtype)
    return uniform.lt_(grey)
