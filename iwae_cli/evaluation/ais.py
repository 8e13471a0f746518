"""Annealed importance sampling from q(h | x) to p(h | x) (Neal 2001; Wu et al. 2017).

The path q^(1-b) p^b is N(e; 0, I) w(e)^b in the coordinates of the noise, so one AIS weight is
the sum over temperatures of (b_t - b_{t-1}) log w, with Hamiltonian moves between them.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from iwae_cli.evaluation.noise_space import NoiseSpace, Slope
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
    space = NoiseSpace(model, x)
    used, step = list[float](), FIRST_STEP
    for _ in range(2):
        used, noise = [], randomness.normal(work.chains)
        slope = space.slope(noise)
        for t in range(1, work.temperatures):
            move = hmc_move(space, noise, slope, work, randomness, b=work.b(t), step=step)
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
    space, noise = NoiseSpace(model, x), randomness.normal(work.chains)
    if work.temperatures == 1:
        return in_float64(space.log_w(noise))
    slope = space.slope(noise)
    total = in_float64(slope.log_w) * work.b(1)
    for t, step in enumerate(steps.tolist(), start=1):
        move = hmc_move(space, noise, slope, work, randomness, b=work.b(t), step=step)
        noise, slope = move.noise, move.slope
        total += in_float64(slope.log_w) * (work.b(t + 1) - work.b(t))
    return total


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
    space = NoiseSpace(model, x)
    slope = space.slope(noise)
    total = torch.zeros(slope.log_w.shape, dtype=torch.float64)
    for t in range(work.temperatures, 0, -1):
        total -= in_float64(slope.log_w) * (work.b(t) - work.b(t - 1))
        if t > 1:
            b, step = work.b(t - 1), float(steps[t - 2])
            move = hmc_move(space, noise, slope, work, randomness, b=b, step=step)
            noise, slope = move.noise, move.slope
    return total


def in_float64(log_w: Tensor) -> Tensor:
    """Return float64 copies on the CPU: some devices have no such type."""
    return log_w.cpu().double()


@torch.no_grad()
def hmc_move(
    space: NoiseSpace,
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
    start = randomness.normal(work.chains)
    new, at = noise, slope
    momentum = start.add(force(at, new, b), alpha=0.5 * step)
    for i in range(work.leapfrogs):
        new = new.add(momentum, alpha=step)
        at = space.slope(new)
        last = i == work.leapfrogs - 1
        momentum.add_(force(at, new, b), alpha=0.5 * step if last else step)
    gained = half_difference_of_squares(noise, new) + half_difference_of_squares(start, momentum)
    change = b * (at.log_w - slope.log_w) + gained
    acceptance = change.exp().clamp(max=1).nan_to_num(0.0)
    taken = randomness.uniform(work.chains) < acceptance
    rows = taken.unsqueeze(-1)
    kept = Slope(
        torch.where(taken, at.log_w, slope.log_w),
        torch.where(rows, at.gradient, slope.gradient),
    )
    return Move(torch.where(rows, new, noise), kept, acceptance)


def force(slope: Slope, noise: Tensor, b: float) -> Tensor:
    """Return the gradient of log N(e; 0, I) w(e)^b, [c, B, H]."""
    return (b * slope.gradient).sub_(noise, alpha=1 - b)


def half_difference_of_squares(one: Tensor, other: Tensor) -> Tensor:
    """Return half of |one|^2 - |other|^2, [c, B], of [c, B, H] without loss of digits."""
    return ((one - other) * (one + other)).sum(-1) * 0.5
