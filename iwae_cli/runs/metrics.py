"""What one pass of training came to."""

from typing import NamedTuple


class Metrics(NamedTuple):
    """One pass over the training images: a row of metrics.csv; bounds in nats per image."""

    pass_number: int
    k: int
    learning_rate: float
    train_bound: float
    valid_bound: float
    seconds: float
    images_per_second: float


def cells(row: Metrics) -> list[str]:
    """Return a pass as text: exact floats, an empty cell where nothing was measured."""
    return ["" if value != value else repr(value) for value in row]
