"""Every estimator once, with a reference for its weights written from the definition.

The one row that a new estimator adds to the shared tests.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from iwae_cli import objectives
from iwae_cli.objectives.base import Objective

Triple = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Case:
    """An estimator with parameters.

    Attributes:
        name: As on the command line.
        triple: (a, b, c) of log weights [k, B], from their definition.
        parameters: Of the estimator.
        plain: Whether its gradient is the derivative of its own bound.
        grouped: Whether the order of the samples matters.
        bound: What it reports where that is neither L_k nor what it follows alone; the decoder's
            weights are the derivative of it.
    """

    name: str
    triple: Callable[[Tensor], Triple]
    parameters: dict[str, Any] = field(default_factory=dict)
    plain: bool = False
    grouped: bool = False
    bound: Callable[[Tensor], Tensor] | None = None

    def objective(self) -> Objective:
        """Return the estimator."""
        return objectives.find(self.name)(**self.parameters)

    def __str__(self) -> str:
        """Return the name with the parameters, for the names of tests."""
        return self.name + "".join(f" {key}={value}" for key, value in self.parameters.items())


def shares(log_w: Tensor, power: float = 1.0) -> Tensor:
    """Return w^power / sum w^power, shifted by a constant alone before the exponential."""
    w = torch.exp(power * (log_w - log_w.mean(0)))
    return w / w.sum(0)


def plain(a: Tensor) -> Triple:
    """Return (a, a, -a)."""
    return a, a, -a


def in_two_groups(log_w: Tensor) -> Tensor:
    """Return the shares within the first and the second half of the samples, over 2."""
    half = len(log_w) // 2
    return torch.cat([shares(log_w[:half]), shares(log_w[half:])]) / 2


def one_hot_of_largest(log_w: Tensor) -> Tensor:
    """Return 1 for the largest weight of each image and 0 for the others."""
    return (log_w == log_w.amax(0)).to(log_w.dtype)


def jackknife(log_w: Tensor, order: int) -> Tensor:
    """Return the jackknife of L_k over all subsets, as its definition has it, [B]."""
    k, total = len(log_w), torch.zeros(log_w.shape[1], dtype=log_w.dtype)
    for j in range(order + 1):
        subsets = [list(kept) for kept in combinations(range(k), k - j)]
        mean = sum(torch.log(torch.exp(log_w[kept]).mean(0)) for kept in subsets) / len(subsets)
        factor = (k - j) ** order / (math.factorial(order - j) * math.factorial(j))
        total = total + (-1) ** j * factor * mean
    return total


def jackknife_weights(order: int) -> Callable[[Tensor], Triple]:
    """Return the derivative of `jackknife` in log w by finite differences."""

    def triple(log_w: Tensor) -> Triple:
        a, step = torch.zeros_like(log_w), 1e-5
        for i in range(len(log_w)):
            shift = torch.zeros_like(log_w)
            shift[i] = step
            difference = jackknife(log_w + shift, order) - jackknife(log_w - shift, order)
            a[i] = difference / (2 * step)
        return plain(a)

    return triple


def renyi_bound(log_w: Tensor) -> Tensor:
    """Return the VR bound with alpha = 0.3, as its definition has it, [B]."""
    return torch.exp(0.7 * log_w).mean(0).log() / 0.7


TVO_BETAS = (0.0, 0.04, 0.2, 1.0)


def thermodynamic_sum(log_p: Tensor, log_q: Tensor, proposal: Tensor) -> Tensor:
    """Return the left Riemann sum of TVO_BETAS for samples of a constant proposal, [B].

    E[log p - log q] under q^(1 - beta) p^beta is estimated by self-normalised importance sampling
    with weights q^(1 - beta) p^beta / proposal.
    """
    total = torch.zeros(log_p.shape[1], dtype=log_p.dtype)
    for beta, above in itertools.pairwise(TVO_BETAS):
        power = torch.exp((1 - beta) * log_q + beta * log_p - proposal)
        total = total + (above - beta) * (power * (log_p - log_q)).sum(0) / power.sum(0)
    return total


def thermodynamic_weights(log_w: Tensor) -> Triple:
    """Return the derivatives of `thermodynamic_sum` in log p and log q, by autograd."""
    log_q = torch.linspace(-3, 2, log_w.numel(), dtype=log_w.dtype).view_as(log_w)
    log_p = (log_w + log_q).detach().requires_grad_()
    variable = log_q.clone().requires_grad_()
    a, c = torch.autograd.grad(thermodynamic_sum(log_p, variable, log_q).sum(), (log_p, variable))
    return a, 0 * a, c


def vimco_weights(log_w: Tensor) -> Triple:
    """Return the weights of VIMCO one sample after another, from the weights themselves."""
    k, c = len(log_w), torch.zeros_like(log_w)
    for i in range(k):
        others = [j for j in range(k) if j != i]
        geometric = log_w[others].mean(0).exp()
        without = ((log_w[others].exp().sum(0) + geometric) / k).log()
        c[i] = log_w.exp().mean(0).log() - without - shares(log_w)[i]
    return shares(log_w), 0 * log_w, c


CASES = [
    Case("vae", lambda v: plain(torch.full_like(v, 1 / len(v))), plain=True),
    Case("iwae", lambda v: plain(shares(v)), plain=True),
    Case("iwae_one_sample", lambda v: plain(shares(v))),
    Case("stl", lambda v: (shares(v), shares(v), 0 * v)),
    Case("dreg", lambda v: (shares(v), shares(v) ** 2, 0 * v)),
    Case("rws", lambda v: (shares(v), 0 * v, shares(v))),
    Case("rws_dreg", lambda v: (shares(v), shares(v) - shares(v) ** 2, 0 * v)),
    Case(
        "dreg_alpha",
        lambda v: (shares(v), 0.3 * shares(v) + 0.4 * shares(v) ** 2, 0 * v),
        {"alpha": 0.3},
    ),
    Case("ciwae", lambda v: plain(0.2 / len(v) + 0.8 * shares(v)), {"beta": 0.2}, plain=True),
    Case("miwae", lambda v: plain(in_two_groups(v)), {"groups": 2}, plain=True, grouped=True),
    Case(
        "piwae",
        lambda v: (shares(v), in_two_groups(v), -in_two_groups(v)),
        {"groups": 2},
        grouped=True,
    ),
    Case("vr", lambda v: plain(shares(v, 0.7)), {"alpha": 0.3}, plain=True),
    Case("vr", lambda v: plain(torch.full_like(v, 1 / len(v))), {"alpha": 1.0}, plain=True),
    Case("vr", lambda v: plain(shares(v, 3.0)), {"alpha": -2.0}, plain=True),
    Case("vr", lambda v: plain(one_hot_of_largest(v)), {"alpha": -math.inf}, plain=True),
    Case(
        "vr_dreg",
        lambda v: (shares(v, 0.7), 0.3 * shares(v, 0.7) + 0.7 * shares(v, 0.7) ** 2, 0 * v),
        {"alpha": 0.3},
        bound=renyi_bound,
    ),
    Case(
        "tvo",
        thermodynamic_weights,
        {"partitions": 3, "beta_1": 0.04},
        bound=lambda v: thermodynamic_sum(v, 0 * v, 0 * v),
    ),
    Case("vimco", vimco_weights),
    Case("jvi", jackknife_weights(1), {"order": 1}, plain=True),
    Case("jvi", jackknife_weights(2), {"order": 2}, plain=True),
]
