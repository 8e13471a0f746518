"""Natural gradient descent with Kronecker factors (K-FAC) for the networks of a model.

Martens and Grosse 2015, arXiv 1503.05671: the Fisher block of a linear layer is taken as the
product of A = E[(a, 1)(a, 1)'], of its inputs a, and G = E[g g'], of the derivatives g of the log
density of its conditional layer in its outputs, at labels drawn from the model.
"""

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor

from iwae_cli.core.errors import NonFiniteError
from iwae_cli.data.binarisation import Binarisation
from iwae_cli.models.fisher import FisherSample
from iwae_cli.models.iwae import IWAE
from iwae_cli.training.optimizers.kronecker import (
    centred,
    damped_inverse,
    mean_of_diagonal,
    moments_of,
    natural,
    output_moment,
)
from iwae_cli.training.optimizers.state import Shapes

STATISTICS_EVERY, STATISTICS_AT_FIRST = 5, 10
INVERSES_EVERY, INVERSES_AT_FIRST = 25, (1, 5, 10, 20, 35)


class KFAC(torch.optim.Optimizer):
    """K-FAC with momentum, and steps of a given length in the Fisher metric of each network.

    With mu = E[a], S = Cov[a], pi = sqrt(mean diag S / mean diag G) and the momenta m_W, m_b of
    the loss's gradient, a linear layer moves along U = G~^-1 (m_W - m_b mu') S~^-1 and
    u = G~^-1 m_b - U mu, where S~ = S + pi sqrt(damping) I and G~ = G + sqrt(damping) / pi I. The
    step of a network is scaled to a length in proportion to `lr`, where length is
    sqrt(sum <m_W, U> + <m_b, u>) over its layers.

    Parameters outside linear layers follow Adam.

    Args:
        model: Its conditional layers give the factors; on its device.
        images: Training images in [0, 1], [N, D]; the first layer's A is that of all of them.
        binarisation: What is done with them before the model reads them.
        rates: What the length of a step of each network, q and p, is over `lr`.
        adam_rate: Adam's learning rate over `lr`.
        momentum: Decay of the sum of gradients.
        damping: See above.
        decay: Of the running averages of A and G, at each new value.
    """

    def __init__(
        self,
        model: IWAE,
        *,
        images: Tensor,
        binarisation: Binarisation,
        rates: tuple[float, float] = (1.0, 1.0),
        adam_rate: float = 5e-3,
        momentum: float = 0.9,
        damping: float = 1e-3,
        decay: float = 0.95,
    ) -> None:
        self.names: dict[Tensor, str] = {p: name for name, p in model.named_parameters()}
        self.momentum, self.damping, self.decay = momentum, damping, decay
        networks = model.linear_layers()
        groups: list[dict[str, Any]] = [
            {"params": [p for layer in layers for p in (layer.weight, layer.bias)], "factor": rate}
            for layers, rate in zip(networks, rates, strict=True)
        ]
        linear = {parameter for group in groups for parameter in group["params"]}
        others = [parameter for parameter in model.parameters() if parameter not in linear]
        super().__init__([group for group in groups if group["params"]], {"lr": 0.0})
        self.adam = torch.optim.Adam(others, lr=0.0) if others else None
        self.adam_rate, self.others = adam_rate, [self.names[parameter] for parameter in others]
        first = model.first_layers()
        self.known = {
            layer.weight: moments_of(images, binary=binarisation.random) for layer in first
        }

    @property
    def steps(self) -> int:
        """Steps taken."""
        state = self.state.get(self.param_groups[0]["params"][0], {})
        return int(state.get("step", 0))

    def wants_factors(self) -> bool:
        """Whether the next step should be preceded by `observe`."""
        number = self.steps + 1
        return number <= STATISTICS_AT_FIRST or number % STATISTICS_EVERY == 0

    @torch.no_grad()
    def observe(self, samples: Iterable[FisherSample]) -> None:
        """Take the factors of a minibatch into their running averages."""
        for sample in samples:
            state = self.state[sample.weight]
            self._average(state, "output", output_moment(sample))
            if sample.weight in self.known:
                state["mean"], state["input"] = self.known[sample.weight]
                continue
            mean, moment = moments_of(sample.inputs, binary=False)
            self._average(state, "mean", mean)
            self._average(state, "input", moment)

    def _average(self, state: dict[str, Any], key: str, new: Tensor) -> None:
        if key in state:
            state[key].lerp_(new, 1 - self.decay)
        else:
            state[key] = new.clone()

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # takes no closure
        """Update every parameter; each must have a gradient.

        Raises:
            NonFiniteError: A factor is not finite, or has no inverse.
        """
        number = self.steps + 1
        if number in INVERSES_AT_FIRST or number % INVERSES_EVERY == 0:
            for weight in self._weights():
                self._invert(weight, number)
        for group in self.param_groups:
            self._step_of_network(group)
        if self.adam is not None:
            self.adam.param_groups[0]["lr"] = self.param_groups[0]["lr"] * self.adam_rate
            self.adam.step()

    def _weights(self) -> list[Tensor]:
        return [weight for group in self.param_groups for weight in group["params"][::2]]

    def _invert(self, weight: Tensor, number: int) -> None:
        state = self.state[weight]
        covariance = centred(state["mean"], state["input"])
        scale = torch.sqrt(mean_of_diagonal(covariance) / mean_of_diagonal(state["output"]))
        root = self.damping**0.5
        for key, factor, added in (
            ("input_inverse", covariance, scale * root),
            ("output_inverse", state["output"], root / scale),
        ):
            state[key], fault = damped_inverse(factor, added)
            if fault:
                raise NonFiniteError(
                    f"K-FAC: the {key.removesuffix('_inverse')} factor of {self.names[weight]} has "
                    f"no finite inverse at step {number}"
                )

    def _step_of_network(self, group: dict[str, Any]) -> None:
        parameters, squared = group["params"], torch.zeros(())
        moves: list[Tensor] = []
        for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
            momenta = [self._momentum_of(parameter) for parameter in (weight, bias)]
            found = natural(self.state[weight], *momenta)
            for momentum, move in zip(momenta, found, strict=True):
                squared = squared.to(move) + torch.dot(momentum.flatten(), move.flatten())
            moves += found
        # a network without gradient stays where it is
        scale = -group["lr"] * group["factor"] / squared.clamp(min=1e-30).sqrt()
        for parameter, move in zip(parameters, moves, strict=True):
            parameter.addcmul_(move, scale)

    def _momentum_of(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"], state["step"] = torch.zeros_like(parameter), torch.tensor(0.0)
        state["step"] += 1
        return cast(Tensor, state["momentum"].mul_(self.momentum).add_(parameter.grad))

    def inner(self) -> dict[str, torch.optim.Optimizer]:
        """Return the optimiser of the other parameters, under the name its state is stored by."""
        return {} if self.adam is None else {"adam": self.adam}

    def state_shapes(self, parameter: Tensor) -> Shapes:
        """Return the shapes of what is stored of a parameter: momentum, and a weight's factors."""
        own: Shapes = {"step": [()], "momentum": [tuple(parameter.shape)]}
        if parameter.dim() < 2:
            return own
        m, n = parameter.shape
        inputs, outputs = [(n, n), (n,)], [(m, m), (m,)]
        factors: Shapes = {"mean": [(n,)], "input": inputs, "output": outputs}
        return {**own, **factors, "input_inverse": inputs, "output_inverse": outputs}

    def state_dict(self) -> dict[str, Any]:
        """Return momenta, factors and inverses, and Adam's state where there is one."""
        found = super().state_dict()
        if self.adam is not None:
            found["state"]["adam"] = self.adam.state_dict()["state"]
        return found

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` of another one returned."""
        state = dict(state_dict["state"])
        adam = state.pop("adam", None)
        super().load_state_dict({**state_dict, "state": state})
        if self.adam is not None:
            self.adam.load_state_dict({**self.adam.state_dict(), "state": adam or {}})
