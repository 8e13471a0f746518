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


@compiled
def log_densities(logits: NDArray[Any], x: NDArray[np.float32], found: NDArray[np.float32]) -> None:
    """Fill `found` [K, B] with -sum_d softplus((1 - 2 x_d) l_d).

    softplus(t) = max(t, 0) + log(1 + exp(-|t|)); up to FACTORS pixels share one logarithm.

    Args:
        logits: l, [K, B, D], or [K, 1, D] for all images alike; float32, or int16 for bfloat16.
        x: Binary images, float32, [B, D].
        found: float32, [K, B].
    """
    samples, shared, pixels = logits.shape
    sums, products = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    for k in range(samples):
        for b in range(len(x)):
            total = 0.0
            for first in range(0, pixels, FACTORS):
                row = logits[k, b if shared > 1 else 0, first : first + FACTORS]
                image = x[b, first : first + FACTORS]
                whole = len(row) - len(row) % LANES
                for i in range(LANES):
                    sums[i], products[i] = ZERO, ONE
                for d in range(0, whole, LANES):
                    for i in range(LANES):
                        t = (ONE - TWO * image[d + i]) * widened(row[d + i])
                        sums[i] += ZERO if t < ZERO else t
                        products[i] += products[i] * exp_of_minus(abs(t))
                for d in range(whole, len(row)):
                    t = (ONE - TWO * image[d]) * widened(row[d])
                    sums[d - whole] += ZERO if t < ZERO else t
                    products[d - whole] += products[d - whole] * exp_of_minus(abs(t))
                product = 1.0
                for i in range(LANES):
                    total += sums[i]
                    product *= products[i]
                total += np.log(product)
            found[k, b] = -total


def bernoulli_log_densities(logits: Tensor, x: Tensor) -> Tensor:
    """Return log p(x | l) = -sum_d softplus((1 - 2 x_d) l_d), nats, float32, [k, B].

    Args:
        logits: l, float32 or bfloat16, on the CPU, [k, B, D], or [k, 1, D] for all images alike.
        x: Binary images, float32, [B, D].
    """
    found = np.empty((len(logits), len(x)), np.float32)
    bits = logits.view(torch.int16) if logits.dtype == torch.bfloat16 else logits
    log_densities(bits.contiguous().numpy(), x.contiguous().numpy(), found)
    return torch.from_numpy(found)
