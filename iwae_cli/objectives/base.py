"""What an estimator is: two pure functions of log weights, and the weights they return."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

Kind = Literal["lower", "upper", "neither"]


def check_groups(groups: int, k: int) -> None:
    """Raise ValueError unless `groups` divides `k`."""
    if k % groups:
        raise ValueError(f"groups={groups} does not divide k={k}")


@dataclass(frozen=True)
class Weights:
    """Weights of the k samples in an ascent direction, each [k, B], without gradient.

    The generative network's parameters ascend sum_i a_i d log w_i. The recognition network's
    ascend sum_i b_i z_i + sum_i c_i d log q(h_i) with h_i held constant, where z_i is the pathwise
    derivative of log w_i with q's parameters held constant inside log q.

    Attributes:
        a: Weights for the generative network.
        b: Weights of the pathwise derivative for the recognition network.
        c: Weights of the score for the recognition network.
        total_derivative: States that b = a and c = -a, so that both networks follow the plain
            derivative of sum_i a_i log w_i.
    """

    a: Tensor
    b: Tensor
    c: Tensor
    total_derivative: bool = False

    @classmethod
    def of_total_derivative(cls, a: Tensor) -> "Weights":
        """Return the weights (a, a, -a) of the plain derivative of sum_i a_i log w_i."""
        return cls(a, a, -a, total_derivative=True)

    def times(self, scale: float) -> "Weights":
        """Return these weights, each times `scale`."""
        if self.total_derivative:
            return Weights.of_total_derivative(scale * self.a)
        return Weights(scale * self.a, scale * self.b, scale * self.c)


class Objective(ABC):
    """An estimator: two pure functions of log weights. Estimators are frozen dataclasses.

    Attributes:
        one_sample: Whether a single sample of each image, drawn by its weight, gives the
            gradient; `weights` is not asked then.
        equal_weights: Whether all samples of an image weigh the same, so that none can be dropped.
    """

    one_sample: ClassVar[bool] = False
    equal_weights: ClassVar[bool] = False

    @property
    def kind(self) -> Kind:
        """What the expected `bound` is to log p(x)."""
        return "lower"

    @abstractmethod
    def bound(self, log_w: Tensor) -> Tensor:
        """Return what is estimated, nats, [B], from log weights [k, B]."""

    @abstractmethod
    def weights(self, log_w: Tensor) -> Weights:
        """Return the weights of the gradient for log weights [k, B] without gradient."""

    def check_k(self, k: int) -> None:  # noqa: B027  (most estimators take any k)
        """Raise ValueError if the estimator is not defined for `k` samples."""

    def at(self, progress: float) -> "Objective":
        """Return the estimator after a fraction `progress` of training, in [0, 1]."""
        return self
