"""Matrix products by the fastest routine there is, and reusable scratch buffers.

On a processor oneDNN's products are on some machines twice as fast as those of the linear algebra
library that torch calls otherwise, and compute the tanh in the same pass. torch offers them under
a private name only: where it is missing, the public functions do the same.
"""

import threading
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def linear_by_onednn(rows: Tensor, weight: Tensor, bias: Tensor | None, activation: str) -> Tensor:
    """Return activation(rows W^T + b), [R, N], where the activation is `tanh` or `none`."""
    found: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, activation, [], "")
    return found


def types_of_onednn() -> frozenset[torch.dtype]:
    """Return the types that this build of torch has that product for, on this processor.

    A processor without AVX-512 has none for bfloat16: there the public one is taken, which is slow.
    """
    if not torch.backends.mkldnn.is_available():
        return frozenset()
    return frozenset(t for t in (torch.float32, torch.bfloat16) if multiplies(t))


def multiplies(dtype: torch.dtype) -> bool:
    """Return whether that product exists for a type and gives what it should."""
    ones = torch.ones(2, 2, dtype=dtype)
    try:
        found = linear_by_onednn(ones, ones, None, "none")
    except (AttributeError, RuntimeError, TypeError):
        return False
    return found.tolist() == [[2.0, 2.0], [2.0, 2.0]]


ONEDNN = types_of_onednn()
# Whether torch.func transforms the code at hand; without the function we take it that it does.
TRANSFORMED: Callable[[], bool] = getattr(
    torch._C, "_are_functorch_transforms_active", lambda: True
)
# With fewer multiplications a call of oneDNN takes longer than the product.
SMALL = 1_000_000
# With fewer rows a product that comes out transposed costs more to turn than it saves.
ROWS_TO_TURN = 256


def unobserved() -> bool:
    """Whether neither autograd nor a compiler nor `torch.func` records: buffers may be reused."""
    recorded = torch.is_grad_enabled() or torch.compiler.is_compiling()
    return not recorded and not TRANSFORMED()


def by_onednn(rows: Tensor, n_out: int) -> bool:
    """Whether oneDNN should multiply `rows` [R, K] by a matrix [K, n_out]."""
    # in bfloat16 the other product rounds once more: one routine for any number of rows
    large = rows.dtype == torch.bfloat16 or rows.numel() * n_out >= SMALL
    return large and rows.dtype in ONEDNN and rows.device.type == "cpu" and unobserved()


def product(rows: Tensor, weight: Tensor, bias: Tensor | None, *, tanh: bool = False) -> Tensor:
    """Return rows W^T + b, and its tanh if asked, [R, N], of `rows` [R, K] and `weight` [N, K]."""
    if by_onednn(rows, weight.shape[0]):
        return linear_by_onednn(rows, weight, bias, "tanh" if tanh else "none")
    found = functional.linear(rows, weight, bias)
    return found.tanh() if tanh else found


def sum_of_outer_products(left: Tensor, right: Tensor) -> Tensor:
    """Return left^T right, [M, N], of [R, M] and [R, N].

    In float32 it is faster to make the transpose of many where `right` is the narrower one.
    """
    if left.dtype != torch.float32 or not by_onednn(left, right.shape[1]):
        return torch.mm(left.T, right)
    if left.shape[1] > right.shape[1] and len(left) >= ROWS_TO_TURN:
        return product(right.T, left.T, None).T
    return product(left.T, right.T, None)


class _Buffers(threading.local):
    """One float32 scratch buffer for each place of a function, reused at every call.

    Fresh memory of this size costs as much as the product that fills it.
    """

    def __init__(self) -> None:
        self.kept: dict[str, Tensor] = {}

    def like(self, place: str, tensor: Tensor) -> Tensor:
        """Return uninitialised float32 (float64 for float64) memory shaped like `tensor`."""
        dtype = torch.promote_types(tensor.dtype, torch.float32)
        if tensor.device.type != "cpu" or dtype != torch.float32:
            return torch.empty(tensor.shape, dtype=dtype, device=tensor.device)
        kept = self.kept.get(place)
        if kept is None or kept.numel() < tensor.numel():
            with torch.inference_mode(mode=False):
                kept = self.kept[place] = torch.empty(tensor.numel())
        return kept[: tensor.numel()].view(tensor.shape)


buffers = _Buffers()
