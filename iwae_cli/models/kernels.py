"""Pure functions behind the layers, written for speed; `layers.py` alone calls them.

On a processor the matrix products are oneDNN's, which on some are twice as fast as those of the
linear algebra library that torch calls otherwise, and carry the tanh along. All tensors of a call
have one dtype, in which its products are computed; with bfloat16 the densities are summed in
float32.
"""

import threading
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

# A product of this many factors in [0.5, 1] stays above the smallest normal float32, 2^-126.
FACTORS = 112
# With fewer rows an autograd function in Python costs more than it saves.
FEW_ROWS = 256
ONEDNN = torch.backends.mkldnn.is_available()


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


_buffers = _Buffers()


def product(rows: Tensor, weight: Tensor, bias: Tensor | None, *, tanh: bool = False) -> Tensor:
    """Return rows W^T + b, and its tanh if asked, [R, N], of `rows` [R, K] and `weight` [N, K]."""
    supported = rows.device.type == "cpu" and rows.dtype in (torch.float32, torch.bfloat16)
    if ONEDNN and supported and rows.numel() and len(weight):
        activation = "tanh" if tanh else "none"
        found: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, activation, [], "")
        return found
    found = functional.linear(rows, weight, bias)
    return found.tanh_() if tanh else found


def sum_of_outer_products(left: Tensor, right: Tensor) -> Tensor:
    """Return left^T right, [M, N], of [R, M] and [R, N].

    With many rows it is faster to make the transpose of it where `right` is the narrower one.
    """
    if left.shape[1] > right.shape[1] and len(left) >= FEW_ROWS:
        return product(right.T, left.T, None).T
    return product(left.T, right.T, None)


def one_by_one(function: Any, info: Any, in_dims: Any, *inputs: Any) -> Any:  # noqa: ANN401
    """Apply an autograd function to each element of a batch of `torch.func.vmap`."""
    chosen = (
        [v if axis is None else v.select(axis, i) for v, axis in zip(inputs, in_dims, strict=True)]
        for i in range(info.batch_size)
    )
    results = [function.apply(*arguments) for arguments in chosen]
    if isinstance(results[0], Tensor):
        return torch.stack(results), 0
    return tuple(map(torch.stack, zip(*results, strict=True))), (0,) * len(results[0])


def called(function: type[torch.autograd.Function], *inputs: Any) -> Any:  # noqa: ANN401
    """Return `function.apply(*inputs)`, without its search for default arguments at every call.

    That search costs as much as a small layer. Transforms such as `torch.func.vmap` need it.
    """
    if torch._C._are_functorch_transforms_active():
        return function.apply(*inputs)
    return super(torch.autograd.Function, function).apply(*inputs)  # type: ignore[misc]


class _TanhLinear(torch.autograd.Function):
    """See `tanh_linear`."""

    @staticmethod
    def forward(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return product(inputs, weight, bias, tanh=True)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:  # noqa: ANN401
        ctx.save_for_backward(inputs[0], inputs[1], output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        inputs, weight, output = ctx.saved_tensors
        wants_inputs, wants_weight, _ = ctx.needs_input_grad
        grad = torch.ops.aten.tanh_backward(grad, output)
        return (
            product(grad, weight.T, None) if wants_inputs else None,
            sum_of_outer_products(grad, inputs) if wants_weight else None,
            grad.sum(0),
        )

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> Any:  # noqa: ANN401
        return one_by_one(_TanhLinear, info, in_dims, *inputs)


def tanh_linear(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return tanh(inputs W^T + b), [..., N]; differentiable once.

    Args:
        inputs: [..., K].
        weight: [N, K].
        bias: [N].
    """
    if torch.compiler.is_compiling() or inputs.numel() < FEW_ROWS * inputs.shape[-1]:
        return functional.linear(inputs, weight, bias).tanh()
    found = called(_TanhLinear, inputs.flatten(0, -2), weight, bias)
    return cast(Tensor, found).view(*inputs.shape[:-1], len(weight))


def sum_of_softplus(t: Tensor) -> Tensor:
    """Return sum_d softplus(t_d) = sum_d max(t_d, 0) - log prod_d sigmoid(|t_d|), from [..., D].

    The factors of the product are in [1/2, 1]; FACTORS of them share one logarithm.
    """
    buffer = _buffers.like("softplus", t)
    larger = torch.abs(t, out=buffer).sigmoid_()
    whole = t.shape[-1] // FACTORS * FACTORS
    logarithms = t.new_zeros(t.shape[:-1])
    if whole:
        logarithms = larger[..., :whole].unflatten(-1, (-1, FACTORS)).prod(-1).log_().sum(-1)
    if whole < t.shape[-1]:
        logarithms = logarithms + larger[..., whole:].prod(-1).log_()
    return torch.clamp(t, min=0, out=buffer).sum(-1) - logarithms


class _BernoulliLogDensity(torch.autograd.Function):
    """See `bernoulli_log_density`; with `keep`, keeps only sigmoid(l) - x for the backward pass.

    As d log p / d l = x - sigmoid(l), the backward pass needs no elementwise pass over [k, B, D].
    """

    @staticmethod
    def forward(
        x: Tensor, features: Tensor, weight: Tensor, bias: Tensor, keep: bool
    ) -> tuple[Tensor, Tensor]:
        logits, t, sign = signed_logits(x, features, weight, bias)
        log_density = sum_of_softplus(t).neg_()
        if not keep:
            return log_density, t.new_empty(0)
        # sigmoid(l) - x is sigmoid(t) with the sign of 1 - 2x
        residual = t.sigmoid_().mul_(sign)
        return log_density, residual if t is logits else logits.copy_(residual)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:  # noqa: ANN401
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[1:3], output[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None, _: None) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        if grad is None:
            return None, None, None, None, None
        features, weight, residual = ctx.saved_tensors
        descent = grad.neg().to(features.dtype).unsqueeze(-1)
        rows = residual.flatten(0, 1)
        grad_features = product(rows, weight.T, None).view(features.shape).mul_(descent)
        if not ctx.needs_input_grad[2]:
            return None, grad_features, None, None, None
        grad_weight = sum_of_outer_products(rows, (descent * features).flatten(0, 1))
        return None, grad_features, grad_weight, rows.T @ descent.flatten(), None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> Any:  # noqa: ANN401
        return one_by_one(_BernoulliLogDensity, info, in_dims, *inputs)


def signed_logits(
    x: Tensor, features: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the logits l, [k, B, D]; t = (1 - 2x) l, float32 at least; and 1 - 2x, [B, D].

    In float32 and float64 t takes the place of l.
    """
    logits = product(features.flatten(0, -2), weight, bias).unflatten(0, features.shape[:-1])
    t = logits
    if logits.dtype == torch.bfloat16:
        t = _buffers.like("logits", logits).copy_(logits)
    sign = (1 - 2 * x).to(t.dtype)
    return logits, t.mul_(sign), sign


def bernoulli_log_density(x: Tensor, features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return log p(x | l) = -sum_d softplus((1 - 2 x_d) l_d) with l = features W^T + b, [k, B].

    Differentiable once, in `features`, `weight` and `bias`; the backward pass consists of matrix
    products alone. At least float32.

    Args:
        x: Binary images, [B, D].
        features: Inputs of the last linear layer, [k, B, K]; [k, 1, K] where all images share them.
        weight: [D, K].
        bias: [D].
    """
    if torch.compiler.is_compiling():  # the compiler fuses the plain formula itself
        t = (1 - 2 * x) * functional.linear(features, weight, bias).float()
        return -functional.softplus(t).sum(-1)
    inputs = x, features.expand(-1, len(x), -1), weight, bias
    keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)
    log_density: Tensor = called(_BernoulliLogDensity, *inputs, keep)[0]
    return log_density
