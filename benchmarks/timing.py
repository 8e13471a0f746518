"""Timing of candidates that take turns, so that a slow moment hits them all."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Times:
    """Seconds of the calls of one candidate."""

    seconds: list[float]

    @property
    def median(self) -> float:
        """The median."""
        return statistics.median(self.seconds)

    @property
    def mean(self) -> float:
        """The mean."""
        return statistics.fmean(self.seconds)

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles."""
        low, _, high = statistics.quantiles(self.seconds, n=4)
        return (high - low) / 2


def seconds_of(call: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of one call, until the device has done it."""
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def median_seconds(call: Callable[[], object], *, device: torch.device, calls: int = 15) -> float:
    """Return the median seconds of a call, after three to warm up."""
    for _ in range(3):
        seconds_of(call, device)
    return statistics.median(seconds_of(call, device) for _ in range(calls))


def in_turns(
    candidates: Mapping[str, Callable[[], object]],
    *,
    device: torch.device,
    rounds: int,
    calls: int,
) -> dict[str, Times]:
    """Return the times of each candidate; each round calls every one `calls` times in a row."""
    for call in candidates.values():
        for _ in range(3):
            seconds_of(call, device)
    found: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, call in candidates.items():
            call()  # brings its data back into the caches
            found[name] += [seconds_of(call, device) for _ in range(calls)]
    return {name: Times(seconds) for name, seconds in found.items()}
