"""Annealed importance sampling from q(h | x) to p(h | x) (Neal 2001; Wu et al. 2017).

The path q^(1-b) p^b is N(e; 0, I) w(e)^b in the coordinates of the noise, so one AIS weight is
the sum over temperatures of (b_t - b_{t-1}) log w, with Hamiltonian moves between them.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from iwae_cli.evaluation.noise_space import Slope, log_weights_at, slope_at
from iwae_cli.models.iwae import IWAE

ACCEPTANCE = 0.65  # that step sizes are adapted to
FIRST_STEP = 0.2
ADAPTATION = 0.3  # change of log step size by unit difference from that acceptance
LARGEST_STEP = 1.0


@dataclass(frozen=True, kw_only=True)
class Annealing:
    """How much work annealing is.

    Attributes:
        temperatures: Steps from q to p, T; one is importance sampling without moves.
        chains: Of each image, c.
        leapfrogs: Gradients of each move.
    """

    temperatures: int = 100
    chains: int = 16
    leapfrogs: int = 10

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")

    def b(self, t: int) -> float:
        """Return the exponent of p at step t = 0..T of the path."""
        return t / self.temperatures


class Randomness(Protocol):
    """Random numbers of the chains: for each image its own, in an order that is always the same."""

    def normal(self, chains: int) -> Tensor:
        """Return standard normal numbers, [c, B, H]."""

    def uniform(self, chains: int) -> Tensor:
        """Return numbers in [0, 1), [c, B]."""


class Move(NamedTuple):
    """A state of the chains after a move, and the acceptance probabilities [c, B]."""

    noise: Tensor
    slope: Slope
    acceptance: Tensor


def adapted_steps(model: IWAE, x: Tensor, work: Annealing, randomness: Randomness) -> Tensor:
    """Return step sizes for each temperature, [T - 1], found by one run of chains on images `x`.

    The step of the next temperature grows where more than 65 % of the moves were accepted and
    shrinks else. Chains that estimate something must not use their own run's: that would break
    the bound (Huang et al. 2020). Two sweeps, so that the first temperatures are adapted too.
    """
    used, step = list[float](), FIRST_STEP
    for _ in range(2):
        used, noise = [], randomness.normal(work.chains)
        slope = slope_at(model, x, noise)
        for t in range(1, work.temperatures):
            move = hmc_move(model, x, noise, slope, work, randomness, b=work.b(t), step=step)
            noise, slope = move.noise, move.slope
            used.append(step)
            rate = float(move.acceptance.mean())
            step = min(LARGEST_STEP, step * math.exp(ADAPTATION * (rate - ACCEPTANCE)))
        first = used[: max(1, len(used) // 10)]
        step = sum(first) / len(first) if first else step
    return torch.tensor(used)


def anneal(
    model: IWAE, x: Tensor, work: Annealing, randomness: Randomness, *, steps: Tensor
) -> Tensor:
    """Return AIS log weights of chains from q to p, float64, [c, B]: their mean weight is p(x).

    The log of the mean of c of them bounds log p(x) from below.

    Args:
        model: On any device.
        x: Binary images, [B, D].
        work: Numbers of temperatures, chains and leapfrog steps.
        randomness: Of starts, momenta and acceptance.
        steps: Frozen step sizes, [T - 1].
    """
    noise = randomness.normal(work.chains)
    if work.temperatures == 1:
        return log_weights_at(model, x, noise).double().cpu()
    slope = slope_at(model, x, noise)
    total = slope.log_w.double() * work.b(1)
    for t, step in enumerate(steps.tolist(), start=1):
        move = hmc_move(model, x, noise, slope, work, randomness, b=work.b(t), step=step)
        noise, slope = move.noise, move.slope
        total += slope.log_w.double() * (work.b(t + 1) - work.b(t))
    return total.cpu()


def anneal_back(
    model: IWAE,
    x: Tensor,
    exact: Tensor,
    work: Annealing,
    randomness: Randomness,
    *,
    steps: Tensor,
) -> Tensor:
    """Return AIS log weights of chains from an exact sample of p(h | x) to q, float64, [c, B].

    The mean weight is 1 / p(x).

    Minus the log of their mean bounds log p(x) from above (bidirectional Monte Carlo, Grosse et
    al. 2015, arXiv 1511.02543): the moves are those of `anneal` in the opposite order.

    Args:
        model: On any device.
        x: Binary images drawn from the model, [B, D].
        exact: The noise of the latents that they were drawn with, [1, B, H].
        work: Numbers of temperatures, chains and leapfrog steps.
        randomness: Of momenta and acceptance.
        steps: Frozen step sizes, [T - 1].
    """
    noise = exact.expand(work.chains, -1, -1).contiguous()
    slope = slope_at(model, x, noise)
    total = slope.log_w.new_zeros(slope.log_w.shape, dtype=torch.float64)
    for t in range(work.temperatures, 0, -1):
        total -= slope.log_w.double() * (work.b(t) - work.b(t - 1))
        if t > 1:
            b, step = work.b(t - 1), float(steps[t - 2])
            move = hmc_move(model, x, noise, slope, work, randomness, b=b, step=step)
            noise, slope = move.noise, move.slope
    return total.cpu()


def hmc_move(
    model: IWAE,
    x: Tensor,
    noise: Tensor,
    slope: Slope,
    work: Annealing,
    randomness: Randomness,
    *,
    b: float,
    step: float,
) -> Move:
    """Return the state after one Hamiltonian trajectory that leaves N(e; 0, I) w(e)^b invariant.

    Unit mass, leapfrog (Neal 2011, arXiv 1206.1901, section 5.3.2). A trajectory that ends where
    log w is not finite is rejected.
    """
    momentum = randomness.normal(work.chains)
    before = energy(noise, momentum, slope.log_w, b)
    new, at = noise, slope
    momentum = momentum + 0.5 * step * (b * at.gradient - new)
    for i in range(work.leapfrogs):
        new = new + step * momentum
        at = slope_at(model, x, new)
        last = i == work.leapfrogs - 1
        momentum = momentum + (0.5 if last else 1.0) * step * (b * at.gradient - new)
    change = before - energy(new, momentum, at.log_w, b)
    acceptance = change.exp().clamp(max=1).nan_to_num(0.0)
    taken = randomness.uniform(work.chains) < acceptance
    rows = taken.unsqueeze(-1)
    kept = Slope(
        torch.where(taken, at.log_w, slope.log_w),
        torch.where(rows, at.gradient, slope.gradient),
    )
    return Move(torch.where(rows, new, noise), kept, acceptance)


def energy(noise: Tensor, momentum: Tensor, log_w: Tensor, b: float) -> Tensor:
    """Return the negative log density of a state with its momentum, up to a constant, [c, B]."""
    squares = noise.double().square().sum(-1) + momentum.double().square().sum(-1)
    return 0.5 * squares - b * log_w.double()
