"""Adam as the authors of the paper published it, and torch's own without its searches."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from iwae_cli.training.optimizers.state import Shapes

# The update of torch's fused Adam, which has no public name; None where it is missing
FUSED_ADAM = getattr(torch, "_fused_adam_", None)


class OriginalAdam(torch.optim.Optimizer):
    """Adam as the authors of the paper published it.

    With t = 1, 2, ... the t-th step moves a parameter by
    -lr * sqrt(1 - beta2^t) / (1 - beta1^t) * m_{t-1} / (sqrt(v_{t-1}) + eps), from m_0 = 0 and
    v_0 = 1, and only then updates both moments with the gradient. The first step moves nothing,
    and the second moment takes some 1/(1 - beta2) steps to forget that it started at one.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, betas: tuple[float, float], eps: float
    ) -> None:
        super().__init__(parameters, {"lr": 1e-3, "betas": betas, "eps": eps})

    def state_shapes(self, parameter: Tensor) -> Shapes:
        """Return the shapes of what is stored of a parameter."""
        own = [tuple(parameter.shape)]
        return {"step": None, "first_moment": own, "second_moment": own}

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # takes no closure
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["step"] = 0
                    state["first_moment"] = torch.zeros_like(parameter)
                    state["second_moment"] = torch.ones_like(parameter)
                state["step"] += 1
                first: Tensor = state["first_moment"]
                second: Tensor = state["second_moment"]
                t = state["step"]
                rate = group["lr"] * math.sqrt(1 - beta2**t) / (1 - beta1**t)
                parameter.addcdiv_(first, second.sqrt().add_(group["eps"]), value=-rate)
                first.lerp_(parameter.grad, 1 - beta1)
                second.mul_(beta2).addcmul_(parameter.grad, parameter.grad, value=1 - beta2)


class FusedAdam(torch.optim.Adam):
    """torch's fused Adam on a processor, which looks for its tensors once and not at every step.

    For small networks that search takes more than half as long as the update, and the first step
    of torch's own imports its compiler.
    """

    _found: list[list[Tensor]] | None = None

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, betas: tuple[float, float], eps: float
    ) -> None:
        super().__init__(parameters, lr=0.0, betas=betas, eps=eps, fused=True)

    def state_dict(self) -> dict[str, Any]:
        """Return the moments, and the count of steps once for each parameter."""
        found = super().state_dict()
        state = {i: {**own, "step": own["step"].clone()} for i, own in found["state"].items()}
        return {**found, "state": state}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` of another one returned."""
        super().load_state_dict(state_dict)
        self._found = None

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # takes no closure
        """Update every parameter; each must have a gradient."""
        (group,) = self.param_groups
        if FUSED_ADAM is None:
            super().step()
            return
        if self._found is None:
            for parameter in group["params"]:
                if not self.state[parameter]:
                    self.state[parameter] = {
                        "step": torch.zeros(()),
                        "exp_avg": torch.zeros_like(parameter),
                        "exp_avg_sq": torch.zeros_like(parameter),
                    }
            states = [self.state[parameter] for parameter in group["params"]]
            for state in states:
                state["step"] = states[0]["step"]  # one count for all
            names = "exp_avg", "exp_avg_sq", "step"
            self._found = [[state[name] for state in states] for name in names]
        first, second, steps = self._found
        gradients = [parameter.grad for parameter in group["params"]]
        steps[0] += 1
        FUSED_ADAM(
            group["params"],
            gradients,
            first,
            second,
            [],
            steps,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=0.0,
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )
