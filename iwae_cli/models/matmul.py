"""Matrix products by the fastest routine there is, and memory that is used again.

On a processor oneDNN's products are on some machines twice as fast as those of the linear algebra
library that torch calls otherwise, and carry the tanh along.
"""

import threading

import torch
from torch import Tensor
from torch.nn import functional

ONEDNN = torch.backends.mkldnn.is_available()
# With fewer multiplications a call of oneDNN takes longer than the product.
SMALL = 1_000_000
# With fewer rows a product that comes out transposed costs more to turn than it saves.
ROWS_TO_TURN = 256


def unobserved() -> bool:
    """Whether nothing looks at the code (autograd, a compiler, `torch.func`): it may hurry then."""
    looked_at = torch.is_grad_enabled() or torch.compiler.is_compiling()
    return not looked_at and not torch._C._are_functorch_transforms_active()


def by_onednn(rows: Tensor, n_out: int) -> bool:
    """Whether oneDNN should multiply `rows` [R, K] by a matrix [K, n_out]."""
    known = rows.dtype == torch.bfloat16 or rows.dtype == torch.float32
    large = rows.numel() * n_out >= SMALL
    return ONEDNN and large and known and rows.device.type == "cpu" and unobserved()


def product(rows: Tensor, weight: Tensor, bias: Tensor | None, *, tanh: bool = False) -> Tensor:
    """Return rows W^T + b, and its tanh if asked, [R, N], of `rows` [R, K] and `weight` [N, K]."""
    if by_onednn(rows, weight.shape[0]):
        activation = "tanh" if tanh else "none"
        found: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, activation, [], "")
        return found
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
    """One float32 buffer for each place of a function, used again at every call.

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
