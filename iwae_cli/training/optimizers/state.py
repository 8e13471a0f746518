"""Checks of an optimiser's state that was stored: torch's kernels trust shapes and types."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from iwae_cli.core.config import require

# The shapes that each entry of one parameter's state may have; None for a whole number
Shapes = Mapping[str, Sequence[tuple[int, ...]] | None]
NEVER_NEGATIVE = ("exp_avg_sq", "second_moment", "step")


def check_state(optimizer: torch.optim.Optimizer, state: object, *, begun: bool) -> None:
    """Check the `state` of an optimiser's state_dict before the optimiser takes it over.

    An optimiser other than Adam has the methods `state_shapes(parameter) -> Shapes`, and
    `inner() -> dict[str, Optimizer]` where it stores other optimisers' states by name.

    Args:
        optimizer: That is to go on with it.
        state: Of each parameter by its number.
        begun: Whether a step was taken; before there is none.

    Raises:
        ValueError: It cannot be the state of such an optimiser.
    """
    require(isinstance(state, dict), "optimizer.state is no mapping")
    assert isinstance(state, dict)
    inner: dict[str, torch.optim.Optimizer] = getattr(optimizer, "inner", dict)()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if not begun and not {*state} - {*inner}:
        return
    require(
        {*state} == {*range(len(parameters)), *inner},
        "optimizer.state is that of another optimiser or of other parameters",
    )
    shapes = getattr(optimizer, "state_shapes", adam_shapes)
    for number, parameter in enumerate(parameters):
        check_entries(shapes(parameter), state[number], f"optimizer.state of parameter {number}")
    for name, one in inner.items():
        check_state(one, state[name], begun=begun)


def adam_shapes(parameter: Tensor) -> Shapes:
    """Return the shapes of Adam's moments."""
    own = [tuple(parameter.shape)]
    return {"step": [()], "exp_avg": own, "exp_avg_sq": own}


def check_entries(shapes: Shapes, entries: Any, where: str) -> None:  # noqa: ANN401  (what a file holds)
    """Raise ValueError unless the entries of one parameter have these names and shapes."""
    named = isinstance(entries, dict) and entries.keys() == shapes.keys()
    require(named, f"{where} has other entries than {', '.join(shapes)}")
    for name, allowed in shapes.items():
        value = entries[name]
        if allowed is None:
            whole = isinstance(value, int) and not isinstance(value, bool)
            require(whole and 0 <= value <= 2**53, f"{where}: {name} is no number of steps")
            continue
        fits = (
            isinstance(value, Tensor)
            and value.is_floating_point()
            and tuple(value.shape) in [*allowed]
        )
        require(fits, f"{where}: {name} has another shape or type than the optimiser's")
        least = 0 if name in NEVER_NEGATIVE else -math.inf
        sound = bool(value.isfinite().all()) and bool((value >= least).all())
        require(sound, f"{where}: {name} has impossible values")
