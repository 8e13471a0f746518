"""Independent seeds for the purposes of one run."""

import numpy as np


def derived_seed(seed: int, purpose: str) -> int:
    """Return a seed in [0, 2^63) for one purpose, independent of those for other purposes."""
    words = [seed, *purpose.encode()]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1)
