"""Recorded updates against plain ones; what the recording stands in for runs on the processor."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import ARCHS
from torch import Tensor

from iwae_cli import objectives
from iwae_cli.core.config import Arch
from iwae_cli.data.binarisation import DYNAMIC, FIXED
from iwae_cli.models.initialisation import initialise
from iwae_cli.models.iwae import IWAE
from iwae_cli.objectives.base import Objective
from iwae_cli.objectives.ciwae import Ciwae
from iwae_cli.objectives.importance import log_mean_exp
from iwae_cli.training.cuda_graph import WARM_UP, CudaGraph, RecordedUpdate, update_of
from iwae_cli.training.optimizers.adam import FusedAdam
from iwae_cli.training.recipes.fast import Fast
from iwae_cli.training.step import Update
from iwae_cli.training.trainer import Trainer


class Rerun:
    """Keeps the contract of a CUDA graph without one: replays do the work again, in one place."""

    made = 0

    def __init__(self) -> None:
        Rerun.made += 1
        self.replays = 0

    def record(self, work: Callable[[], Tensor]) -> Tensor:
        self.work, self.bound = work, torch.zeros(())
        return self.bound

    def replay(self) -> None:
        self.replays += 1
        self.bound.copy_(self.work())


def trainer(objective: Objective, device: str = "cpu") -> Trainer:
    model = IWAE(7, ARCHS["two"])
    initialise(model, "glorot", generator=torch.Generator().manual_seed(0), mean_image=None)
    grey = torch.rand(50, 7, generator=torch.Generator().manual_seed(1)).to(device)
    return Trainer(
        model.to(device),
        objective,
        Fast(passes=6, batch_size=20, k_growth=[2]),
        k=4,
        seed=0,
        train=grey,
        valid=grey[:0],
        binarisation=DYNAMIC,
    )


def trained(one: Trainer) -> Tensor:
    one.run(save=lambda: None, on_pass=lambda _: None, checkpoint_seconds=1e9, validate_passes=0)
    return torch.cat([p.detach().flatten() for p in one.model.parameters()])


@pytest.mark.parametrize("k", [1, 5, 50])
@pytest.mark.parametrize(
    ("products", "least"), [(None, 0.9999), (torch.bfloat16, 0.99)], ids=["float32", "bfloat16"]
)
def test_updates_of_the_papers_network_follow_plain_adam_in_float64(
    k: int, products: torch.dtype | None, least: float
) -> None:
    """Cosine between what each parameter moved by and what it should have, after five updates."""
    generator = torch.Generator().manual_seed(0)
    model = IWAE(784, Arch())
    initialise(model, "glorot", generator=generator, mean_image=torch.full((784,), 0.2))
    exact = copy.deepcopy(model).double()
    start = [p.detach().clone() for p in exact.parameters()]
    model.multiply_in(products)
    settings: dict[str, Any] = {"betas": (0.9, 0.999), "eps": 1e-3}
    optimizer = FusedAdam(model.parameters(), **settings)
    optimizer.param_groups[0]["lr"] = 1e-3
    plain = torch.optim.Adam(exact.parameters(), lr=1e-3, foreach=False, **settings)
    update = Update(model, optimizer, generator, "mean", binarisation=FIXED)
    same = torch.Generator()
    for _ in range(5):
        x = (torch.rand(20, 784, generator=generator) < 0.2).float()
        same.set_state(generator.get_state())
        update(x, k, objectives.find("iwae")())
        noise = [epsilon.double() for epsilon in model.draw_noise(k, 20, same)]
        plain.zero_grad()
        bound = log_mean_exp(exact.importance_sample(x.double(), noise).log_w)
        (-bound.mean()).backward()
        plain.step()
    for own, other, before in zip(model.parameters(), exact.parameters(), start, strict=True):
        ours, expected = ((p.detach() - before).flatten() for p in (own, other))
        assert float(torch.cosine_similarity(ours, expected, dim=0)) > least


@pytest.mark.parametrize("name", ["iwae", "dreg", "iwae_one_sample"])
def test_recorded_training_equals_plain_training_bit_for_bit(name: str) -> None:
    objective = objectives.find(name)()
    plain, recorded = trainer(objective), trainer(objective)
    assert isinstance(recorded.update, Update)
    Rerun.made = 0
    recorded.update = RecordedUpdate(recorded.update, Rerun)
    assert torch.equal(trained(plain), trained(recorded))
    assert [row.train_bound for row in plain.metrics] == [
        row.train_bound for row in recorded.metrics
    ]
    # two k; full minibatches of 20, and of the ragged ones of 10 fewer than it takes to record
    assert Rerun.made == 2
    replays = [r.graph.replays for r in recorded.update.recordings.values()]  # type: ignore[attr-defined]
    assert replays == [3 * 2 - WARM_UP] * 2


def test_an_estimator_that_changes_during_training_is_not_recorded() -> None:
    class OnAGpu(torch.Generator):
        device = torch.device("cuda")

    one = trainer(objectives.find("iwae")())
    plain = one.update
    assert isinstance(plain, Update)
    on_gpu = Update(plain.model, plain.optimizer, OnAGpu(), "mean", DYNAMIC)
    fixed, changing = Ciwae(), Ciwae(beta=0.1, beta_end=0.9)
    assert isinstance(update_of(on_gpu, capturable=True, objective=fixed), RecordedUpdate)
    assert update_of(on_gpu, capturable=True, objective=changing) is on_gpu
    assert update_of(on_gpu, capturable=False, objective=fixed) is on_gpu
    assert update_of(plain, capturable=True, objective=fixed) is plain


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_cuda_graph_trains_as_plain_code_does() -> None:
    objective = objectives.find("iwae")()
    recorded, plain = trainer(objective, "cuda"), trainer(objective, "cuda")
    assert isinstance(recorded.update, RecordedUpdate)
    plain.update = recorded.update.update.__class__(
        plain.model, plain.optimizer, plain.generator, "mean", DYNAMIC
    )
    torch.testing.assert_close(trained(recorded), trained(plain), rtol=1e-4, atol=1e-5)
    graphs = [one.graph for one in recorded.update.recordings.values()]
    assert graphs
    assert all(isinstance(graph, CudaGraph) for graph in graphs)
