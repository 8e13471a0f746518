import copy
import logging
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ARCHS

from iwae_cli.core.errors import NonFiniteError
from iwae_cli.data.binarisation import DYNAMIC, FIXED, Binarisation
from iwae_cli.models.backward import ForwardPass
from iwae_cli.models.initialisation import initialise
from iwae_cli.models.iwae import IWAE, Gradients
from iwae_cli.objectives.base import Objective
from iwae_cli.objectives.ciwae import Ciwae
from iwae_cli.objectives.iwae import Iwae
from iwae_cli.runs.metrics import Metrics
from iwae_cli.training.recipes.base import Recipe
from iwae_cli.training.recipes.fast import Fast
from iwae_cli.training.recipes.kfac import Kfac
from iwae_cli.training.recipes.original_code import OriginalCode
from iwae_cli.training.recipes.paper import Paper
from iwae_cli.training.trainer import Trainer
from iwae_cli.training.validation import (
    OverfittingWatch,
    best_before_fall,
    validation_bound,
)

PIXELS, IMAGES = 7, 50
SHORT: dict[str, Any] = {"passes": 3, "batch_size": 20, "k_growth": [2]}


def trainer(
    recipe: Recipe | None = None, *, seed: int = 0, binarisation: Binarisation = DYNAMIC
) -> Trainer:
    model = IWAE(PIXELS, ARCHS["two"])
    initialise(model, "glorot", generator=torch.Generator().manual_seed(0), mean_image=None)
    grey = torch.rand(IMAGES, PIXELS, generator=torch.Generator().manual_seed(1))
    return Trainer(
        model,
        Iwae(),
        recipe or Fast(**SHORT),
        k=4,
        seed=seed,
        train=grey if binarisation.random else grey.round(),
        valid=grey[:10],
        binarisation=binarisation,
    )


def run(one: Trainer, *, validate_passes: int = 1) -> list[Metrics]:
    rows: list[Metrics] = []
    one.run(
        save=lambda: None,
        on_pass=rows.append,
        checkpoint_seconds=1e9,
        validate_passes=validate_passes,
    )
    return rows


def parameters(one: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in one.model.parameters()])


def test_training_raises_the_bound_and_reports_every_pass() -> None:
    rows = run(trainer(Fast(passes=40, batch_size=10, k_growth=[2], learning_rate=0.01)))
    assert [row.pass_number for row in rows] == list(range(1, 41))
    assert [row.k for row in rows] == [2] * 20 + [4] * 20
    first, last = (np.mean([row.train_bound for row in part]) for part in (rows[:5], rows[-5:]))
    assert last > first + 0.2
    assert all(math.isfinite(row.valid_bound) for row in rows)


def test_a_pass_uses_every_image_once_with_a_ragged_last_batch_and_averages_over_images() -> None:
    one = trainer(Paper(stages=1, batch_size=20))
    seen: list[torch.Tensor] = []
    bounds: list[torch.Tensor] = []
    gradients = one.model.gradients

    def spy(x: torch.Tensor, *arguments: Any, **options: Any) -> Gradients:
        found = gradients(x, *arguments, **options)
        bounds.append(found.bound)
        seen.append(one.order[sum(map(len, seen)) :][: len(x)])
        return found

    one.model.gradients = spy  # type: ignore[method-assign]
    (row,) = run(one)
    assert [len(part) for part in seen] == [20, 20, 10]
    assert sorted(torch.cat(seen).tolist()) == list(range(IMAGES))
    assert row.train_bound == pytest.approx(float(torch.cat(bounds).double().mean()), rel=1e-6)


@pytest.mark.parametrize("kind", [Paper, OriginalCode])
def test_every_image_counts_the_same_in_a_smaller_last_minibatch(
    kind: type[Paper | OriginalCode],
) -> None:
    recipe = kind(stages=1, batch_size=20, shuffle=False)
    one = trainer(recipe, binarisation=FIXED)
    one.step()
    one.step()
    whole = parameters(one)
    x = one.train[40:]
    noise = copy.deepcopy(one.generator)
    one.step()
    gradient = torch.cat([p.grad.flatten() for p in one.model.parameters() if p.grad is not None])
    for parameter, values in zip(
        one.model.parameters(),
        whole.split([p.numel() for p in one.model.parameters()]),
        strict=True,
    ):
        parameter.data.copy_(values.view_as(parameter))
    found = one.model.gradients(
        x, one.model.draw_noise(4, 10, noise), Iwae(), reduction="sum"
    ).parameters
    summed = torch.cat([g.flatten() for g in found])
    divisor = 20 if recipe.reduction == "mean" else 1
    torch.testing.assert_close(gradient, summed / divisor)


def test_shuffle_changes_the_order_of_every_pass_and_without_it_the_order_stays() -> None:
    shuffled, fixed = trainer(Paper(stages=2)), trainer(OriginalCode(stages=2, shuffle=False))
    run(shuffled)
    run(fixed)
    assert fixed.order.tolist() == list(range(IMAGES))
    assert shuffled.order.tolist() != list(range(IMAGES))


@pytest.mark.parametrize(
    "recipe", [Fast(**SHORT), Kfac(**SHORT, k_shares=[0.5])], ids=lambda recipe: recipe.name
)
@pytest.mark.parametrize("steps", [1, 3, 4, 8])
def test_a_restored_run_equals_an_uninterrupted_one_bit_for_bit(recipe: Recipe, steps: int) -> None:
    whole, second = trainer(recipe), trainer(recipe)
    saved = []

    def save() -> None:
        optimizer, model = whole.optimizer.state_dict(), whole.model.state_dict()
        saved.append(copy.deepcopy((whole.steps, whole.state_dict(), optimizer, model)))

    whole.run(save=save, on_pass=lambda _: None, checkpoint_seconds=0, validate_passes=1)
    taken, state, optimizer, model = saved[steps - 1]
    assert taken == steps
    second.load_state_dict(state)
    second.model.load_state_dict(model)
    second.optimizer.load_state_dict(optimizer)
    run(second)
    assert torch.equal(parameters(second), parameters(whole))
    for found, row in zip(second.metrics, whole.metrics, strict=True):
        assert found[:5] == row[:5]


def test_validation_draws_nothing_from_the_generator_of_training() -> None:
    with_validation, without = trainer(), trainer()
    run(with_validation, validate_passes=1)
    rows = run(without, validate_passes=0)
    assert torch.equal(parameters(with_validation), parameters(without))
    assert all(math.isnan(row.valid_bound) for row in rows)


def test_the_learning_rate_and_the_objective_follow_their_schedules_at_every_step() -> None:
    recipe = Kfac(passes=2, batch_size=20, k_growth=[], k_shares=[])
    one, seen = trainer(recipe), []
    one.objective = Ciwae(beta=1.0, beta_end=0.0)
    update = one.update

    def watched(grey: torch.Tensor, k: int, objective: Objective) -> torch.Tensor:
        assert isinstance(objective, Ciwae)
        seen.append((one.optimizer.param_groups[0]["lr"], objective.beta))
        return update(grey, k, objective)

    one.update = watched
    run(one)
    positions = [step / 6 for step in range(6)]  # three steps a pass
    assert [rate for rate, _ in seen] == pytest.approx([0.2 * (1 - p) for p in positions])
    assert [beta for _, beta in seen] == pytest.approx([1 - p for p in positions])


def test_the_validation_bound_follows_the_schedule_of_the_objective() -> None:
    one = trainer()
    one.objective = Ciwae(beta=1.0, beta_end=0.0)
    rows, last = run(one), trainer().valid
    for now, passes in ((Ciwae(beta=2 / 3), 1), (Ciwae(beta=0.0), 3)):
        other = trainer(Fast(**{**SHORT, "passes": 3}))
        other.objective = one.objective
        for _ in range(passes * other.steps_per_pass):
            other.step()
            if other.step_in_pass == other.steps_per_pass:
                other.pass_index, other.step_in_pass = other.pass_index + 1, 0
        found = validation_bound(other.model, now, last, DYNAMIC, k=4, seed=0)
        assert rows[passes - 1].valid_bound == pytest.approx(found, rel=1e-6)


def test_seeds_differ_and_a_seed_repeats() -> None:
    same, again, other = trainer(), trainer(), trainer(seed=1)
    for one in (same, again, other):
        run(one)
    assert torch.equal(parameters(same), parameters(again))
    assert not torch.allclose(parameters(same), parameters(other))


def test_fixed_binarisation_leaves_images_as_they_are() -> None:
    one = trainer(Paper(stages=1), binarisation=FIXED)
    seen: list[torch.Tensor] = []
    forward = one.model.forward_pass

    def spy(x: torch.Tensor, noise: Sequence[torch.Tensor]) -> ForwardPass:
        seen.append(x)
        return forward(x, noise)

    one.model.forward_pass = spy  # type: ignore[method-assign]
    run(one, validate_passes=0)
    assert torch.equal(torch.cat(seen), one.train[one.order])


def test_dynamic_binarisation_has_the_grey_value_as_mean() -> None:
    """Five standard errors; false alarm 6e-7."""
    grey = torch.tensor([0.0, 0.25, 1.0]).expand(40_000, 3)
    mean = DYNAMIC.draw(grey, torch.Generator().manual_seed(0)).mean(0)
    assert mean[0] == 0
    assert mean[2] == 1
    assert float(mean[1]) == pytest.approx(0.25, abs=5 * math.sqrt(0.1875 / 40_000))


def test_a_bound_that_is_not_finite_stops_training_and_names_the_step() -> None:
    one = trainer()
    one.step()
    one.model.get_parameter("recognition.0.log_std.bias").data[0] = 1e4
    with pytest.raises(NonFiniteError, match=r"the bound is -?(nan|inf) at step 2 \(pass 1\)"):
        one.step()


def test_a_state_with_a_parameter_that_is_not_finite_is_never_given_out() -> None:
    one = trainer()
    one.model.get_parameter("recognition.0.mean.bias").data[0] = math.nan
    with pytest.raises(NonFiniteError, match="a parameter is NaN or infinite"):
        one.state_dict()


def rows(valid: Sequence[float], train: Sequence[float] | None = None) -> list[Metrics]:
    """Return metrics with these bounds; training's rise unless they are given."""
    train = train or [float(i) for i in range(len(valid))]
    pairs = enumerate(zip(train, valid, strict=True), start=1)
    return [Metrics(number, 5, 1e-3, t, v, 1.0, 1.0) for number, (t, v) in pairs]


NAN = math.nan


@pytest.mark.parametrize(
    ("metrics", "since"),
    [
        (rows([-90, -80, -81, -82, -83, -84, -85]), 2),
        (rows([-80, NAN, -81, -82, NAN, -83, -84, -85]), 1),  # not measured at every pass
        (rows([-90, -80, -81, -82, -83, -84]), None),  # for too short a time
        (rows([-90, -80, -86, -85, -84, -83, -82]), None),  # it rises again
        (rows([-90, -89, -88, -87, -86, -85, -84]), None),
        (rows([-80, -81, -82, -83, -84, -85], [-9, -10, -11, -12, -13, -14]), None),  # so does it
        (rows([NAN] * 9), None),  # no held-out images
    ],
)
def test_a_held_out_bound_that_falls_for_a_while_is_told_once(
    metrics: list[Metrics], since: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    best = best_before_fall(metrics)
    assert (best.pass_number if best else None) == since
    watch = OverfittingWatch(metrics)
    with caplog.at_level(logging.WARNING, logger="iwae"):
        watch.look()
        watch.look()
    assert len(caplog.messages) == (since is not None)
    if best:
        fall = f"{best.valid_bound:.2f} to {metrics[-1].valid_bound:.2f}"
        assert f"falling since pass {since}, from {fall}" in caplog.text
