"""Optimisers with their schedules of learning rate, passes and k, by name."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from iwae_cli.config import require
from iwae_cli.models.iwae import Reduction


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

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
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

    For small networks that search takes as long as the update.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, betas: tuple[float, float], eps: float
    ) -> None:
        super().__init__(parameters, lr=0.0, betas=betas, eps=eps, fused=True)
        self._found: list[list[Tensor]] | None = None

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` of another one returned."""
        super().load_state_dict(state_dict)
        self._found = None

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter; each must have a gradient."""
        (group,) = self.param_groups
        if not self.state:
            super().step()  # makes the moments
            return
        if self._found is None:
            states = [self.state[parameter] for parameter in group["params"]]
            for state in states:
                state["step"] = states[0]["step"]  # one count for all
            names = "exp_avg", "exp_avg_sq", "step"
            self._found = [[state[name] for state in states] for name in names]
        first, second, steps = self._found
        steps[0] += 1
        torch._fused_adam_(
            group["params"],
            [parameter.grad for parameter in group["params"]],
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


@dataclass(frozen=True)
class Schedule(ABC):
    """How a run is trained: optimiser, minibatches, and what changes from pass to pass.

    Attributes:
        batch_size: Images a step; the last minibatch of a pass may have fewer.
        learning_rate: The largest one.
        beta1: Decay of the first moment.
        beta2: Decay of the second moment.
        eps: Added to the root of the second moment.
        shuffle: Whether each pass takes the images in a new order.
    """

    name: str
    batch_size: int
    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    shuffle: bool = True
    reduction: ClassVar[Reduction] = "mean"
    algorithm: ClassVar[type[torch.optim.Optimizer]] = torch.optim.Adam
    capturable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, f"batch_size must be at least 1, got {self.batch_size}")
        rate = self.learning_rate
        require(0 < rate < math.inf, f"learning_rate must be positive and finite, got {rate}")
        for beta in (self.beta1, self.beta2):
            require(0 <= beta < 1, f"beta1 and beta2 must be in [0, 1), got {beta}")
        require(self.eps > 0, f"eps must be positive, got {self.eps}")

    @property
    @abstractmethod
    def total_passes(self) -> int:
        """Passes over the training images in all."""

    @abstractmethod
    def learning_rate_at(self, position: float) -> float:
        """Return the learning rate after `position` passes, a fraction included."""

    def k_at(self, pass_index: int, k: int) -> int:
        """Return the number of samples in one pass, counted from 0, of a run that ends at `k`."""
        return k

    def build(
        self, parameters: Iterable[nn.Parameter], device: torch.device
    ) -> torch.optim.Optimizer:
        """Return the optimiser of `parameters`; the learning rate is set before each step.

        On a GPU it can be recorded in a CUDA graph, and has its learning rate in a tensor.
        """
        betas = self.beta1, self.beta2
        if device.type == "cpu":
            return FusedAdam(parameters, betas=betas, eps=self.eps)
        recorded = device.type == "cuda" and self.capturable
        return torch.optim.Adam(
            parameters,
            lr=torch.tensor(0.0, device=device) if recorded else 0.0,
            betas=betas,
            eps=self.eps,
            fused=True,
            capturable=recorded,
        )


@dataclass(frozen=True)
class Paper(Schedule):
    """Stage i = 0, 1, ... makes 3^i passes at learning rate lr * 10^(-i/7), with Adam.

    Burda et al. 2015, arXiv 1509.00519, section 5. The authors' eps of 1e-4 belongs to the
    gradient summed over 20 images; on the mean it is 5e-6.
    """

    name: str = "paper"
    batch_size: int = 20
    stages: int = 8
    learning_rate: float = 1e-3
    eps: float = 5e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.stages <= 12, f"stages must be in 1..12, got {self.stages}")

    @property
    def total_passes(self) -> int:
        """(3^stages - 1) / 2; 3,280 with eight stages."""
        return int((3**self.stages - 1) // 2)

    def stage_at(self, position: float) -> int:
        """Return the stage that contains pass number `position`, counted from 0."""
        stage = 0
        while position >= (3 ** (stage + 1) - 1) // 2 and stage < self.stages - 1:
            stage += 1
        return stage

    def learning_rate_at(self, position: float) -> float:
        """Return lr * 10^(-i/7) in stage i."""
        return self.learning_rate * 10 ** (-self.stage_at(position) / 7)


@dataclass(frozen=True)
class OriginalCode(Paper):
    """The stages of the paper with the optimiser of the authors' published code.

    The learning rate of stage i is lr * round(10^(1 - i/7), 1) / 10, and the loss is summed over
    the minibatch; see `OriginalAdam`.
    """

    name: str = "original_code"
    beta1: float = 0.99
    eps: float = 1e-4
    reduction: ClassVar[Reduction] = "sum"
    algorithm: ClassVar[type[torch.optim.Optimizer]] = OriginalAdam
    capturable: ClassVar[bool] = False  # its step number is the host's

    def learning_rate_at(self, position: float) -> float:
        """Return lr * round(10^(1 - i/7), 1) / 10 in stage i."""
        return self.learning_rate * round(10 ** (1 - self.stage_at(position) / 7), 1) / 10

    def build(
        self, parameters: Iterable[nn.Parameter], device: torch.device
    ) -> torch.optim.Optimizer:
        """Return the authors' variant of Adam."""
        return OriginalAdam(parameters, betas=(self.beta1, self.beta2), eps=self.eps)


@dataclass(frozen=True)
class Fast(Schedule):
    """Adam with a learning rate that falls to zero along a cosine, while k grows.

    Training is cut into equal parts: each entry of `k_growth` below the run's k names the k of
    one part, and the last part uses the run's k itself.
    """

    name: str = "fast"
    batch_size: int = 100
    passes: int = 120
    learning_rate: float = 3e-3
    k_growth: list[int] = field(default_factory=lambda: [5, 10])

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.passes >= 1, f"passes must be at least 1, got {self.passes}")
        rising = all(a < b for a, b in zip([0, *self.k_growth], self.k_growth, strict=False))
        require(rising, f"k_growth must rise from at least 1, got {self.k_growth}")

    @property
    def total_passes(self) -> int:
        """The option `passes`."""
        return self.passes

    def learning_rate_at(self, position: float) -> float:
        """Return lr * (1 + cos(pi * position / passes)) / 2."""
        return self.learning_rate * (1 + math.cos(math.pi * position / self.passes)) / 2

    def k_at(self, pass_index: int, k: int) -> int:
        """Return the k of the part of training that holds this pass."""
        parts = [smaller for smaller in self.k_growth if smaller < k] + [k]
        return parts[pass_index * len(parts) // self.passes]


@dataclass(frozen=True)
class Constant(Schedule):
    """Adam at one learning rate; by default the second stage of the paper's Table 2.

    3^7 passes at 1e-4: Burda et al. 2015, arXiv 1509.00519, section 5.3.
    """

    name: str = "constant"
    batch_size: int = 20
    passes: int = 3**7
    learning_rate: float = 1e-4
    eps: float = 5e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.passes >= 1, f"passes must be at least 1, got {self.passes}")

    @property
    def total_passes(self) -> int:
        """The option `passes`."""
        return self.passes

    def learning_rate_at(self, position: float) -> float:
        """Return the learning rate, the same at every position."""
        return self.learning_rate


SCHEDULES: dict[str, type[Schedule]] = {
    "paper": Paper,
    "original_code": OriginalCode,
    "fast": Fast,
    "constant": Constant,
}
