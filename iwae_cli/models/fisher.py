"""What the Fisher information of a model's linear layers is estimated from."""

from typing import NamedTuple

from torch import Tensor


class FisherSample(NamedTuple):
    """Inputs and backward signals of one linear layer, at labels drawn from the model.

    Attributes:
        weight: The layer's, [m, n].
        inputs: a, [R, n].
        outputs: Derivatives g of the log density of the labels in the layer's outputs, [R, m].
        squares: Whether `outputs` are E[g^2] over the labels, for outputs whose g are independent
            of one another, so that E[g g'] is diagonal.
    """

    weight: Tensor
    inputs: Tensor
    outputs: Tensor
    squares: bool = False
