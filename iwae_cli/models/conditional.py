"""The contract of a conditional layer: a network whose output is a distribution."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn

from iwae_cli.models.fisher import FisherSample


class Distribution(Protocol):
    """A named tuple of tensors, the parameters of a density, each [..., n]."""

    def log_density(self, values: Tensor) -> Tensor:
        """Return the log density, nats, [...], of `values` [..., n], all constants included."""
        ...

    def __iter__(self) -> Iterator[Tensor]: ...


D = TypeVar("D", bound=Distribution)


class LayerGradients(NamedTuple):
    """Gradients of a loss.

    Attributes:
        parameters: Of the parameters, in the layer's order.
        inputs: Of the inputs, [R, n]; empty where it was not asked for.
    """

    parameters: list[Tensor]
    inputs: Tensor


class DensityGradients(NamedTuple):
    """Gradients of a loss through a log density.

    Attributes:
        parameters: Of the parameters, in the layer's order.
        inputs: Of the inputs, [R, n].
        values: Derivative of each log density in the values that it was taken at, without weights,
            of their shape; empty where those are observed.
    """

    parameters: list[Tensor]
    inputs: Tensor
    values: Tensor


class DensitySlopes(NamedTuple):
    """Derivatives of a log density.

    Attributes:
        inputs: In the inputs, [R, n].
        values: In the values that it was taken at, of their shape; empty where those are observed.
    """

    inputs: Tensor
    values: Tensor


class AutogradCache(NamedTuple):
    """What autograd needs: its copies of the inputs, and what was computed from them."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class ConditionalLayer(nn.Module, Generic[D]):
    """A conditional density p(values | inputs).

    A subclass must define `forward`, which returns the distribution for `inputs` [..., n_in]. All
    else is done by autograd unless it is overridden, as the dense layers do for speed. With this
    alone a layer takes part in every objective, at every depth.
    """

    def forward(self, inputs: Tensor) -> D:
        """Return the distribution for `inputs` [..., n_in]."""
        raise NotImplementedError

    def forward_with_cache(self, inputs: Tensor) -> tuple[D, Any]:
        """Return what `forward` does, and what `backward` needs."""
        with recording():
            own = leaf(inputs)
            found = cast(D, self(own))
        parameters = tuple(found)
        constant = type(found)(*(p.detach() for p in parameters))
        return constant, AutogradCache((own,), parameters)

    def backward(
        self,
        cache: Any,  # noqa: ANN401  (each layer's own)
        gradient: D,
        *,
        of_inputs: bool = True,
        row_weights: Tensor | None = None,
    ) -> LayerGradients:
        """Return the gradients of a loss in the parameters and the inputs.

        Args:
            cache: Of `forward_with_cache`.
            gradient: Of the loss in each parameter of the distribution, of their shapes.
            of_inputs: Whether the gradient of the inputs, [R, n_in], is asked for.
            row_weights: Weight of each row in the gradients of the parameters, [R, 1]; None for 1.
        """
        inputs, outputs = cache
        whole = list(gradient)
        weighted = whole
        if row_weights is not None:
            weighted = [g * row_weights.view(*g.shape[:-1], 1) for g in whole]
        found = derivative(outputs, list(self.parameters()), weighted)
        own = derivative(outputs, inputs, whole)[0] if of_inputs else inputs[0].new_empty(0)
        return LayerGradients(found, own.flatten(0, -2) if of_inputs else own)

    def log_density(
        self, values: Tensor, inputs: Tensor, *, keep: bool = False
    ) -> tuple[Tensor, Any]:
        """Return log p(values | inputs), nats, [k, B], and what its derivative needs if `keep`.

        Args:
            values: [k, B, n], or [B, n] where they are observed.
            inputs: [k, B, n_in], or [k, 1, n_in] where all images share them and nothing is kept.
            keep: Whether the derivative will be asked for.
        """
        if not keep:
            return self(inputs).log_density(values), None
        with recording():
            own = leaf(inputs), leaf(values)
            found = self(own[0]).log_density(own[1])
        return found.detach(), AutogradCache(own, (found,))

    def log_density_backward(
        self,
        cache: Any,  # noqa: ANN401  (each layer's own)
        a: Tensor,
        b: Tensor | None,
    ) -> DensityGradients:
        """Return the gradients of a loss through the log density.

        Args:
            cache: Of `log_density`.
            a: Weight of each log density in the gradients of the parameters, [k, B].
            b: Its weight in those of the inputs; None for the same.
        """
        parameters = derivative(cache.outputs, list(self.parameters()), [a])
        inputs, values = derivative(cache.outputs, cache.inputs, [torch.ones_like(a)])
        weighted = inputs * (a if b is None else b).unsqueeze(-1)
        return DensityGradients(parameters, weighted.flatten(0, -2), values)

    def gradient_of_inputs(self, cache: Any, gradient: D) -> Tensor:  # noqa: ANN401  (each layer's own)
        """Return the gradient of a loss in the inputs alone, [R, n_in].

        Args:
            cache: Of `forward_with_cache`.
            gradient: Of the loss in each parameter of the distribution, of their shapes.
        """
        if not isinstance(cache, AutogradCache):
            return self.backward(cache, gradient).inputs
        return derivative(cache.outputs, cache.inputs, list(gradient))[0].flatten(0, -2)

    def log_density_slopes(self, cache: Any, like: Tensor) -> DensitySlopes:  # noqa: ANN401  (each layer's own)
        """Return the derivatives of the log density in its inputs and its values.

        Args:
            cache: Of `log_density`.
            like: That log density, [k, B].
        """
        ones = torch.ones_like(like)
        if not isinstance(cache, AutogradCache):
            found = self.log_density_backward(cache, ones, None)
            return DensitySlopes(found.inputs, found.values)
        inputs, values = derivative(cache.outputs, cache.inputs, [ones])
        return DensitySlopes(inputs.flatten(0, -2), values)

    def linear_layers(self) -> list[nn.Linear]:
        """Return the linear layers whose Fisher information `fisher_samples` speaks of."""
        return []

    def fisher_samples(
        self,
        cache: Any,  # noqa: ANN401  (each layer's own)
        generator: torch.Generator,
    ) -> list[FisherSample]:
        """Return what the Fisher information of `linear_layers` is estimated from.

        Args:
            cache: Of `forward_with_cache` or `log_density`.
            generator: Source of the labels, which are drawn from the layer's own distribution.
        """
        return []

    def start_at(self, mean: Tensor, std: Tensor) -> None:
        """Set the output bias so that mean and deviation are `mean` and `std` [n] at first."""


@contextmanager
def recording() -> Iterator[None]:
    """Let autograd record, whatever the caller's mode is."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        yield


def leaf(tensor: Tensor) -> Tensor:
    """Return a copy that autograd differentiates to."""
    return tensor.detach().clone().requires_grad_()


def derivative(
    outputs: tuple[Tensor, ...], of: list[Tensor] | tuple[Tensor, ...], weights: list[Tensor]
) -> list[Tensor]:
    """Return the gradients of the sum of weights times outputs, zero where there is no link."""
    if not of:
        return []
    with torch.inference_mode(mode=False):
        found = torch.autograd.grad(
            outputs,
            of,
            [w.clone() for w in weights],
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
    return list(found)
