"""Activations of hidden layers, and their derivatives by what they return."""

import torch
from torch import Tensor
from torch.nn import functional

from iwae_cli.core.config import LEAK


def activated(name: str, t: Tensor) -> Tensor:
    """Return the activation of `t`, of its shape.

    Args:
        name: One of `core.config.ACTIVATIONS`.
        t: Of any shape.
    """
    if name == "tanh":
        return t.tanh()
    if name == "relu":
        return t.relu()
    if name == "leaky_relu":
        return functional.leaky_relu(t, LEAK)
    if name == "elu":
        return functional.elu(t)
    assert name == "softplus"
    return functional.softplus(t)


def activation_backward(name: str, grad: Tensor, output: Tensor) -> Tensor:
    """Return the gradient of what was activated, of its shape, for that of the activation.

    Args:
        name: One of `core.config.ACTIVATIONS`.
        grad: Gradient of the activation.
        output: The activation.
    """
    if name == "tanh":
        found: Tensor = torch.ops.aten.tanh_backward(grad, output)
        return found
    if name == "relu":
        return grad * (output > 0)
    if name == "leaky_relu":
        return torch.where(output > 0, grad, LEAK * grad)
    if name == "elu":
        return torch.where(output > 0, grad, grad * (output + 1))
    assert name == "softplus"
    return grad * -torch.expm1(-output)
