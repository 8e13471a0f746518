"""Layers of the networks: tanh layers, and the Gaussian over latents that they end in."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from iwae_cli.models.distributions import Gaussian, normal_like
from iwae_cli.models.fisher import FisherSample
from iwae_cli.models.kernels import Pulled, Trace, backward_signals, pull_tanh_layers, tanh_layers
from iwae_cli.models.matmul import product, sum_of_outer_products

# With fewer rows a product in bfloat16 does not pay for casting the weights.
MANY_ROWS = 64


def linear(n_in: int, n_out: int) -> nn.Linear:
    """Return a linear layer whose parameters are not yet drawn, on torch's default device."""
    device = torch.get_default_device()  # "meta" where shapes alone are asked for
    layer: nn.Linear = skip_init(nn.Linear, n_in, n_out, device=device)
    return layer


class TanhNetwork(nn.Sequential):
    """Linear layers between consecutive `sizes`, each followed by tanh.

    Attributes:
        products: The dtype of the matrix products where there are at least `MANY_ROWS` rows; None,
            and fewer rows, keep that of the parameters.
    """

    products: torch.dtype | None = None

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        for layer, (n_in, n_out) in enumerate(zip(sizes, sizes[1:], strict=False)):
            # the names under which checkpoints have them
            self.add_module(str(2 * layer), linear(n_in, n_out))

    def forward(self, inputs: Tensor) -> Trace:
        """Return all activations for `inputs` [..., sizes[0]]."""
        wide = inputs.numel() >= MANY_ROWS * inputs.shape[-1]
        dtype = self.products if self.products and wide else inputs.dtype
        return tanh_layers(inputs, parameters_of(self), dtype)

    def fisher_samples(self, trace: Trace, grad: Tensor) -> list[FisherSample]:
        """Return what the Fisher information of each layer is estimated from.

        Args:
            trace: Of `forward`.
            grad: Derivative of the log density of the labels in the features, [R, n].
        """
        signals = backward_signals(trace, grad.to(trace.features.dtype))
        layers = [layer for layer in self if isinstance(layer, nn.Linear)]
        parts = zip(layers, trace.activations, signals, strict=False)
        return [FisherSample(layer.weight, inputs, signal) for layer, inputs, signal in parts]


def parameters_of(layers: Iterable[nn.Module]) -> list[Tensor]:
    """Return the weight and the bias of each of these linear layers, one after another."""
    return [cast(Tensor, p) for layer in layers for p in (layer.weight, layer.bias)]


class GaussianTrace(NamedTuple):
    """What a Gaussian layer leaves behind for its derivative.

    Attributes:
        gaussian: What it returned.
        network: The tanh layers' part.
        features: Their output in the heads' dtype, [R, n].
        heads: Weights of both heads, [2 H, n].
    """

    gaussian: Gaussian
    network: Trace
    features: Tensor
    heads: Tensor


Tape = list[Any]  # of the traces above


class GaussianLayer(nn.Module):
    """q(h | input) or p(h | input): a tanh network with a mean and a log-std head."""

    def __init__(self, n_in: int, hidden: Sequence[int], n_out: int) -> None:
        super().__init__()
        sizes = [n_in, *hidden]
        self.network = TanhNetwork(sizes)
        self.mean = linear(sizes[-1], n_out)
        self.log_std = linear(sizes[-1], n_out)

    def forward(self, inputs: Tensor, tape: Tape | None = None) -> Gaussian:
        """Return the Gaussian for `inputs` [..., n_in].

        Args:
            inputs: In the parameters' dtype.
            tape: What `pull` will need is added to it.
        """
        network = self.network(inputs)
        features = network.features.to(inputs.dtype)
        heads = torch.cat([self.mean.weight, self.log_std.weight])
        found = product(features, heads, torch.cat([self.mean.bias, self.log_std.bias]))
        gaussian = Gaussian(*found.view(*inputs.shape[:-1], len(heads)).chunk(2, dim=-1))
        if tape is not None:
            tape.append(GaussianTrace(gaussian, network, features, heads))
        return gaussian

    def pull(
        self,
        trace: GaussianTrace,
        grad: Gaussian,
        *,
        of_inputs: bool,
        row_weights: Tensor | None = None,
    ) -> Pulled:
        """Return the gradients of a loss in the parameters, and in the inputs if asked.

        Args:
            trace: Of `forward`.
            grad: Gradients in mean and log_std, [..., n_out] each.
            of_inputs: Whether the gradient of the inputs, [R, n_in], is asked for.
            row_weights: What each row counts in the gradients of the parameters, [R, 1].
        """
        rows = torch.cat(grad, dim=-1).view(-1, len(trace.heads))
        own = rows if row_weights is None else rows * row_weights
        last = *sum_of_outer_products(own, trace.features).chunk(2), *own.sum(0).chunk(2)
        dtype = trace.network.features.dtype
        network = pull_tanh_layers(
            trace.network,
            product(rows, trace.heads.T, None).to(dtype),
            of_inputs=of_inputs,
            row_weights=None if row_weights is None else row_weights.to(dtype),
        )
        parameters = *network.parameters, last[0], last[2], last[1], last[3]
        return Pulled([p.to(rows.dtype) for p in parameters], network.inputs.to(rows.dtype))

    def fisher_samples(
        self, trace: GaussianTrace, generator: torch.Generator
    ) -> list[FisherSample]:
        """Return what the Fisher information of each linear layer is estimated from.

        The labels are h = mean + std * noise, whose log density has the derivatives noise / std in
        the mean and noise^2 - 1 in log_std.

        Args:
            trace: Of `forward`.
            generator: Source of the labels.
        """
        precision = torch.exp(-trace.gaussian.log_std).flatten(0, -2)
        noise = normal_like(precision, generator)
        slopes = torch.cat([noise * precision, noise.square() - 1], dim=-1)
        found = self.network.fisher_samples(trace.network, product(slopes, trace.heads.T, None))
        for head, squares in (
            (self.mean, precision.square()),
            (self.log_std, torch.full_like(noise, 2.0)),
        ):
            found.append(FisherSample(head.weight, trace.features, squares, squares=True))
        return found

    def pull_slopes(
        self, trace: GaussianTrace, slopes: Gaussian, a: Tensor, b: Tensor | None
    ) -> Pulled:
        """Return the gradients through the log density of a constant, in parameters and inputs.

        Args:
            trace: Of `forward`.
            slopes: Derivatives of that log density, [k, B, n_out] each.
            a: What each log density counts for the parameters, [k, B].
            b: What it counts for the inputs; None for the same.
        """
        if b is None:
            grad = Gaussian(*(a.unsqueeze(-1) * slope for slope in slopes))
            return self.pull(trace, grad, of_inputs=True)
        found = self.pull(trace, slopes, of_inputs=True, row_weights=a.reshape(-1, 1))
        return Pulled(found.parameters, found.inputs * b.reshape(-1, 1))
