"""p(x | h) for binary pixels: a Bernoulli distribution of each."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from iwae_cli.models.fisher import FisherSample
from iwae_cli.models.kernels import (
    BernoulliTrace,
    Pulled,
    Trace,
    bernoulli_log_density,
    pull_bernoulli_log_density,
    pull_tanh_layers,
)
from iwae_cli.models.layers import TanhNetwork, Tape, linear, parameters_of
from iwae_cli.models.matmul import product


class BernoulliLayerTrace(NamedTuple):
    """What a Bernoulli layer leaves behind for its derivative."""

    network: Trace
    density: BernoulliTrace


class BernoulliLayer(nn.Module):
    """p(x | h): a tanh network with one logit a pixel."""

    def __init__(self, n_in: int, hidden: Sequence[int], n_out: int) -> None:
        super().__init__()
        sizes = [n_in, *hidden]
        self.network = TanhNetwork(sizes)
        self.logits = linear(sizes[-1], n_out)

    def forward(self, h: Tensor) -> Tensor:
        """Return the logits of the pixels for latents `h` [..., H], [..., D]."""
        features = self.network(h).features.to(h.dtype)
        logits = product(features, *parameters_of((self.logits,)))
        return logits.view(*h.shape[:-1], logits.shape[-1])

    def log_density(self, x: Tensor, h: Tensor, tape: Tape | None = None) -> Tensor:
        """Return log p(x | h) = sum_d x_d l_d - softplus(l_d), nats, [k, B].

        Args:
            x: Binary images, [B, D].
            h: Latents of the first stochastic layer, [k, B, H], or [k, 1, H] for all images alike.
            tape: What `pull` will need is added to it.
        """
        network = self.network(h)
        last = parameters_of((self.logits,))
        keep = tape is not None
        features = network.features.unflatten(0, h.shape[:-1])
        log_density, trace = bernoulli_log_density(x, features, *last, keep=keep)
        if tape is not None and trace is not None:
            tape.append(BernoulliLayerTrace(network, trace))
        return log_density

    def pull_log_density(self, trace: BernoulliLayerTrace, a: Tensor, b: Tensor | None) -> Pulled:
        """Return the gradients of a loss in the parameters and in `h`, [R, H].

        Args:
            trace: Of `log_density`.
            a: What each log density counts for the parameters, [k, B].
            b: What it counts for `h`; None for the same.
        """
        features = trace.network.features
        descent = a.reshape(-1, 1).neg().to(features.dtype)
        last = pull_bernoulli_log_density(trace.density, features, descent)
        if b is None:
            grad = last.inputs.mul_(descent)
            network = pull_tanh_layers(trace.network, grad, of_inputs=True)
            grad_h = network.inputs.to(a.dtype)
        else:
            network = pull_tanh_layers(
                trace.network, last.inputs, of_inputs=True, row_weights=descent
            )
            grad_h = network.inputs * b.reshape(-1, 1).neg()
        return Pulled([p.to(a.dtype) for p in network.parameters + last.parameters], grad_h)

    def fisher_samples(
        self, trace: BernoulliLayerTrace, generator: torch.Generator
    ) -> list[FisherSample]:
        """Return what the Fisher information of each linear layer is estimated from.

        The labels are drawn from p(x | h); their log density has the derivative x - p in a logit,
        of mean square p (1 - p).

        Args:
            trace: Of `log_density`.
            generator: Source of the labels.
        """
        error = trace.density.residual.to(self.logits.weight.dtype)
        p = torch.where(error < 0, error + 1, error)  # the residual is sigmoid(l) - x
        uniform = torch.rand(p.shape, generator=generator, device=p.device, dtype=p.dtype)
        slopes = uniform.lt(p).to(p.dtype).sub_(p).to(trace.density.weight.dtype)
        found = self.network.fisher_samples(
            trace.network, product(slopes, trace.density.weight.T, None)
        )
        squares = p * (1 - p)
        features = trace.network.features
        return [*found, FisherSample(self.logits.weight, features, squares, squares=True)]
