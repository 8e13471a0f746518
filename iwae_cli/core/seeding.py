"""Independent seeds for the purposes of one run, and stored states of generators."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derived_seed(seed: int, purpose: str) -> int:
    """Return a seed in [0, 2^63) for one purpose, independent of those for other purposes."""
    words = [seed, *purpose.encode()]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1)


def set_generator(generator: "torch.Generator", state: "torch.Tensor | None") -> None:
    """Let a generator go on from a state that was stored.

    Raises:
        ValueError: It is none, or of a generator of another device.
    """
    try:
        if state is not None:
            generator.set_state(state)
            return
    except RuntimeError:
        pass
    raise ValueError("training.generator is no state of a generator of this device")
