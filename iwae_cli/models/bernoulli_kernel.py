"""The Bernoulli log density in one pass over the logits, compiled for this machine by numba.

Torch makes five passes of it, each through memory. Importing this file imports numba, which takes
a third of a second; `kernels.py` does so at the first log density on a processor.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray
from torch import Tensor

# Sums and products that run side by side: one vector register of 512 bits.
LANES = 16
# A product of so many factors in [1, 2] stays below the largest float64, 2^1024, and that of the
# share of each lane below the largest float32, 2^128.
FACTORS = 60 * LANES
ZERO, ONE, TWO = np.float32(0), np.float32(1), np.float32(2)
LOG2_E = np.float32(1.4426950408889634)
# Below it 2^y is no normal float32; 1 + 2^y is one in any case.
LEAST = np.float32(-126)
# Added to a small float32 it leaves the nearest integer in the lowest bits.
ROUND = np.float32(1.5 * 2**23)
MANTISSA = np.int32(23)
# 2^f for f in [-1/2, 1/2] by least squares of the relative error, which is below 8e-8
C0, C1, C2 = np.float32(1.000000071), np.float32(0.693146949), np.float32(0.240221218)
C3, C4, C5 = np.float32(0.0555074262), np.float32(0.00967545975), np.float32(0.00132669704)

Function = Callable[..., Any]
Build = Callable[[ir.IRBuilder, ir.Value], ir.Value]


def compiled(function: Function) -> Function:
    """Return the function compiled, from a cache on the disk where a folder can be written.

    A product may fuse with a sum; nothing is reordered, so that results are reproducible.
    """
    make = partial(njit, fastmath={"contract"}, nogil=True, error_model="numpy")
    try:
        made: Function = make(cache=True)(function)
    except RuntimeError:  # neither the package's folder nor the user's own can be written
        made = make()(function)
    return made


def inlined(function: Function) -> Function:
    """Return a part of a compiled function; calls would keep loops from becoming vectors."""
    made: Function = njit(inline="always")(function)
    return made


def instructions(function: Function) -> Function:
    """Return a part of a compiled function that is given by its type and its instructions."""
    made: Function = intrinsic(function)
    return made


def typed(source: types.Type, target: types.Type, build: Build) -> tuple[object, Function]:
    """Return the type of an instruction and what makes it, as numba wants them."""
    return target(source), lambda _, builder, __, arguments: build(builder, arguments[0])


@instructions
def float_of(_: object, bits: types.Type) -> tuple[object, Function]:
    """Return the float32 that has these bits, an int32."""
    return typed(types.int32, types.float32, lambda code, v: code.bitcast(v, ir.FloatType()))


@instructions
def bits_of(_: object, value: types.Type) -> tuple[object, Function]:
    """Return the bits of a float32 as an int32."""
    return typed(types.float32, types.int32, lambda code, v: code.bitcast(v, ir.IntType(32)))


@instructions
def widened(_: object, value: types.Type) -> tuple[object, Function]:
    """Return a float32 as it is, or the float32 of a bfloat16 whose bits are an int16."""
    if value == types.float32:
        return typed(value, value, lambda _, v: v)

    def build(code: ir.IRBuilder, v: ir.Value) -> ir.Value:
        bits = code.zext(v, ir.IntType(32))
        return code.bitcast(code.shl(bits, ir.Constant(bits.type, 16)), ir.FloatType())

    return typed(value, types.float32, build)


@inlined
def exp_of_minus(t: np.float32) -> np.float32:
    """Return exp(-t) for t >= 0 with a relative error of 1e-7, or 2^-126 where that is larger."""
    y = -t * LOG2_E
    y = LEAST if y < LEAST else y
    rounded = y + ROUND
    f = y - (rounded - ROUND)
    p = ((((C5 * f + C4) * f + C3) * f + C2) * f + C1) * f + C0
    found: np.float32 = float_of(bits_of(p) + (bits_of(rounded) << MANTISSA))
    return found


@instructions
def narrowed(_: object, value: types.Type, like: types.Type) -> tuple[object, Function]:
    """Return a float32 as it is, or rounded to the bits of a bfloat16 where `like` is an int16."""
    if like == types.float32:
        return value(value, like), lambda _, __, ___, arguments: arguments[0]

    def generate(_: object, code: ir.IRBuilder, __: object, arguments: list[ir.Value]) -> ir.Value:
        bits = code.bitcast(arguments[0], ir.IntType(32))
        lowest = code.and_(code.lshr(bits, ir.Constant(bits.type, 16)), ir.Constant(bits.type, 1))
        to_even = code.add(lowest, ir.Constant(bits.type, 0x7FFF))
        rounded = code.lshr(code.add(bits, to_even), ir.Constant(bits.type, 16))
        return code.trunc(rounded, ir.IntType(16))

    return types.int16(types.float32, like), generate


@compiled
def fill(
    logits: NDArray[Any], x: NDArray[np.float32], found: NDArray[np.float32], slopes: NDArray[Any]
) -> None:
    """Fill `found` [K, B] with log p(x | l), and `slopes`, unless it is empty, with sigmoid(l) - x.

    log p = -sum_d softplus(t_d) for t = (1 - 2 x) l, and softplus(t) = max(t, 0) +
    log(1 + exp(-|t|)); up to FACTORS pixels share one logarithm. sigmoid(l) - x is sigmoid(t)
    with the sign of 1 - 2 x.

    Args:
        logits: l, [K, B, D], or [K, 1, D] for all images alike; float32, or int16 for bfloat16.
        x: Binary images, float32, [B, D].
        found: float32, [K, B].
        slopes: Of the logits' type, [K, B, D], or [0, 0, 0].
    """
    samples, shared, pixels = logits.shape
    sums, products = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    for k in range(samples):
        for b in range(len(x)):
            total = 0.0
            for first in range(0, pixels, FACTORS):
                row = logits[k, b if shared > 1 else 0, first : first + FACTORS]
                image = x[b, first : first + FACTORS]
                for i in range(LANES):
                    sums[i], products[i] = ZERO, ONE
                if len(slopes):
                    add_with_slopes(row, image, sums, products, slopes[k, b, first:])
                else:
                    add(row, image, sums, products)
                product = 1.0
                for i in range(LANES):
                    total += sums[i]
                    product *= products[i]
                total += np.log(product)
            found[k, b] = -total


@inlined
def add(
    row: NDArray[Any], image: NDArray[np.float32], sums: NDArray[Any], products: NDArray[Any]
) -> None:
    """Add up max(t, 0) in `sums` and multiply 1 + exp(-|t|) in `products`, each lane its own."""
    whole = len(row) - len(row) % LANES
    for d in range(0, whole, LANES):
        for i in range(LANES):
            t = (ONE - TWO * image[d + i]) * widened(row[d + i])
            sums[i] += ZERO if t < ZERO else t
            products[i] += products[i] * exp_of_minus(abs(t))
    for d in range(whole, len(row)):
        t = (ONE - TWO * image[d]) * widened(row[d])
        sums[d - whole] += ZERO if t < ZERO else t
        products[d - whole] += products[d - whole] * exp_of_minus(abs(t))


@inlined
def add_with_slopes(
    row: NDArray[Any],
    image: NDArray[np.float32],
    sums: NDArray[Any],
    products: NDArray[Any],
    slopes: NDArray[Any],
) -> None:
    """Do what `add` does, and fill `slopes` with (1 - 2 x) sigmoid(t)."""
    whole = len(row) - len(row) % LANES
    for d in range(0, whole, LANES):
        for i in range(LANES):
            sign = ONE - TWO * image[d + i]
            t = sign * widened(row[d + i])
            e = exp_of_minus(abs(t))
            sums[i] += ZERO if t < ZERO else t
            products[i] += products[i] * e
            slope = sign * (e if t < ZERO else ONE) / (ONE + e)
            slopes[d + i] = narrowed(slope, slopes[d + i])
    for d in range(whole, len(row)):
        sign = ONE - TWO * image[d]
        t = sign * widened(row[d])
        e = exp_of_minus(abs(t))
        sums[d - whole] += ZERO if t < ZERO else t
        products[d - whole] += products[d - whole] * e
        slope = sign * (e if t < ZERO else ONE) / (ONE + e)
        slopes[d] = narrowed(slope, slopes[d])


def bernoulli_log_densities(
    logits: Tensor, x: Tensor, *, slopes: bool = False
) -> tuple[Tensor, Tensor]:
    """Return log p(x | l) = -sum_d softplus((1 - 2 x_d) l_d), nats, float32, [k, B], and slopes.

    Args:
        logits: l, float32 or bfloat16, on the CPU, [k, B, D], or [k, 1, D] for all images alike.
        x: Binary images, float32, [B, D].
        slopes: Whether sigmoid(l) - x, minus the derivative, is returned, [k, B, D], in the
            logits' dtype; else that is empty.
    """
    found = torch.empty(len(logits), len(x))
    shape = (len(logits), *x.shape) if slopes else (0, 0, 0)
    residual = torch.empty(shape, dtype=logits.dtype)
    fill(array(logits), array(x), array(found), array(residual))
    return found, residual


def array(tensor: Tensor) -> NDArray[Any]:
    """Return the memory of a tensor; that of bfloat16 as int16."""
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.view(torch.int16)
    return tensor.contiguous().numpy()
