"""Steps recorded as CUDA graphs.

On a GPU the whole update (binarisation, noise, forward, backward, optimiser) is captured as a CUDA
graph and replayed, for launching its hundred small kernels one by one takes longer than they do.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from iwae_cli.objectives.base import Objective
from iwae_cli.training.step import Update

# Updates that are made one kernel at a time before the same kind is captured: libraries choose
# their routines and allocate their workspaces in the first.
WARM_UP = 3


class Graph(Protocol):
    """A recording of work on a device that can be done again."""

    def record(self, work: Callable[[], Tensor]) -> Tensor:
        """Record `work` without doing it, and return the tensor that every replay fills."""

    def replay(self) -> None:
        """Do the recorded work on what its inputs hold now."""


class CudaGraph:
    """A CUDA graph whose random numbers go on from replay to replay."""

    def __init__(self, generator: torch.Generator) -> None:
        self.graph = torch.cuda.CUDAGraph()
        self.graph.register_generator_state(generator)

    def record(self, work: Callable[[], Tensor]) -> Tensor:
        """Record `work` without doing it, and return the tensor that every replay fills."""
        with torch.cuda.graph(self.graph):
            return work()

    def replay(self) -> None:
        """Do the recorded work on what its inputs hold now."""
        self.graph.replay()


@dataclass
class Recording:
    """An update of one kind, with the memory that its images go into and its bound comes out of."""

    images: Tensor
    graph: Graph
    bound: Tensor


class RecordedUpdate:
    """`Update` that records every kind of update (batch size, k, estimator) once and replays it.

    Args:
        update: What is recorded; its optimiser must be capturable, with the learning rate in a
            tensor.
        new_graph: Makes an empty recording.
    """

    def __init__(self, update: Update, new_graph: Callable[[], Graph]) -> None:
        self.update, self.new_graph = update, new_graph
        self.made: dict[Any, int] = {}
        self.recordings: dict[Any, Recording] = {}

    def __call__(self, grey: Tensor, k: int, objective: Objective) -> Tensor:
        """Update the parameters and return the sum of the images' bounds, a scalar tensor."""
        kind = (tuple(grey.shape), k, objective)
        if kind not in self.recordings:
            if self.made.get(kind, 0) < WARM_UP:
                self.made[kind] = self.made.get(kind, 0) + 1
                return self.update(grey, k, objective)
            images, graph = grey.clone(), self.new_graph()
            bound = graph.record(lambda: self.update(images, k, objective))
            self.recordings[kind] = Recording(images, graph, bound)
        recording = self.recordings[kind]
        recording.images.copy_(grey)
        recording.graph.replay()
        return recording.bound.clone()


def update_of(
    update: Update, *, capturable: bool, objective: Objective
) -> Callable[[Tensor, int, Objective], Tensor]:
    """Return the fastest form of an update: a recorded one on a GPU.

    Args:
        update: The plain one.
        capturable: Whether the optimiser's step can be recorded.
        objective: Not recorded if it changes during training.
    """
    fixed = objective.at(0.0) == objective.at(1.0)
    if update.generator.device.type == "cuda" and capturable and fixed:
        return RecordedUpdate(update, lambda: CudaGraph(update.generator))
    return update
