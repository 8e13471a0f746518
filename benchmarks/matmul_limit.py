"""The machine's own limit: the matrix products that a step or an evaluation cannot do without."""

from collections.abc import Callable

import torch
from timing import median_seconds

from iwae_cli.models.kernels import product

# Rows of input and output of each layer; the first group runs once an image
ENCODER = ((784, 200), (200, 200), (200, 100))
DECODER = ((50, 200), (200, 200), (200, 784))
Shape = tuple[int, int, int]


def forward_products(k: int, batch: int) -> list[Shape]:
    """Return the products [M, K] x [K, N] of a forward pass as (M, K, N)."""
    return [(batch, *sizes) for sizes in ENCODER] + [(k * batch, *sizes) for sizes in DECODER]


def training_products(k: int, batch: int) -> list[Shape]:
    """Return the products of a training step: forward, weights' gradients, inputs' gradients."""
    forward = forward_products(k, batch)
    weights = [(n_in, rows, n_out) for rows, n_in, n_out in forward]
    inputs = [(rows, n_out, n_in) for rows, n_in, n_out in forward[1:]]
    return forward + weights + inputs


@torch.no_grad()
def fastest_seconds(shape: Shape, dtype: torch.dtype, device: torch.device) -> float:
    """Return the time of one product by the fastest routine there is, into memory that is warm."""
    M, K, N = shape
    left = torch.randn(M, K, device=device).to(dtype)
    right = torch.randn(K, N, device=device).to(dtype)
    out = torch.empty(M, N, device=device, dtype=dtype)
    turned = right.T.contiguous()
    routines: list[Callable[[], object]] = [
        lambda: torch.mm(left, right, out=out),
        lambda: product(left, turned, None),
    ]
    return min(median_seconds(routine, device=device) for routine in routines)


def limit_seconds(shapes: list[Shape], dtype: torch.dtype, device: torch.device) -> float:
    """Return the time of all these products, one after another."""
    distinct = {shape: fastest_seconds(shape, dtype, device) for shape in set(shapes)}
    return sum(distinct[shape] for shape in shapes)


def operations(shapes: list[Shape]) -> float:
    """Return the floating-point operations of these products."""
    return sum(2.0 * M * K * N for M, K, N in shapes)
