import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ARCHS, tiny_model
from torch import nn

from iwae_cli.core.errors import ConfigError
from iwae_cli.data.binarisation import DYNAMIC
from iwae_cli.models.iwae import IWAE
from iwae_cli.training.components import find_recipe
from iwae_cli.training.optimizers.adam import FusedAdam
from iwae_cli.training.recipes import RECIPES
from iwae_cli.training.recipes.base import Recipe
from iwae_cli.training.recipes.fast import Fast
from iwae_cli.training.recipes.kfac import Kfac
from iwae_cli.training.recipes.original_code import OriginalCode
from iwae_cli.training.recipes.paper import Paper


def test_paper_makes_three_to_the_i_passes_at_rates_that_fall_tenfold_over_seven_stages() -> None:
    recipe = Paper()
    assert recipe.total_passes == 3280 == sum(3**i for i in range(8))
    rates = [recipe.rates.at(i) for i in range(recipe.total_passes)]
    expected = [1e-3 * 10 ** (-i / 7) for i in range(8) for _ in range(3**i)]
    assert rates == expected
    assert Paper(stages=4).total_passes == 40


def test_original_code_rounds_the_rates_as_the_authors_did() -> None:
    recipe = OriginalCode()
    starts = [(3**i - 1) // 2 for i in range(8)]
    rates = [recipe.rates.at(start) for start in starts]
    expected = [10e-4, 7.2e-4, 5.2e-4, 3.7e-4, 2.7e-4, 1.9e-4, 1.4e-4, 1e-4]
    np.testing.assert_allclose(rates, expected, rtol=1e-12)


def test_fast_ends_at_the_k_asked_for_and_at_rate_zero() -> None:
    recipe = Fast(passes=9)
    assert [recipe.k_at(i, 50) for i in range(9)] == [5, 5, 5, 10, 10, 10, 50, 50, 50]
    assert [recipe.k_at(i, 5) for i in range(9)] == [5] * 9
    assert [recipe.k_at(i, 1) for i in range(9)] == [1] * 9
    assert [recipe.k_at(i, 7) for i in range(9)] == [5] * 5 + [7] * 4
    rates = [recipe.rates.at(position) for position in (0, 4.5, 9)]
    np.testing.assert_allclose(rates, [3e-3, 1.5e-3, 0], atol=1e-15)


def test_kfac_gives_each_k_its_share_of_the_passes_and_falls_in_a_straight_line() -> None:
    recipe = Kfac(passes=10)
    assert [recipe.k_at(i, 50) for i in range(10)] == [5] * 6 + [10] * 2 + [50] * 2
    assert [recipe.k_at(i, 7) for i in range(10)] == [5] * 6 + [7] * 4
    assert [recipe.k_at(i, 5) for i in range(10)] == [5] * 10
    assert [recipe.rates.at(position) for position in (0, 5, 10)] == [0.2, 0.1, 0.0]
    assert Kfac(end_rate=1.0).rates.at(60) == 0.2


@pytest.mark.parametrize(
    ("images", "found"), [(1, 20), (500, 20), (1300, 52), (10_000, 400), (59_600, 400)]
)
def test_kfac_takes_smaller_minibatches_where_images_are_few(images: int, found: int) -> None:
    assert Kfac().images_per_step(images) == found
    assert Kfac(batch_size=70).images_per_step(images) == 70


@pytest.mark.parametrize(
    ("images", "batch_size", "taken"), [(100, None, 20), (10_000, None, 400), (100, 10**5, 100)]
)
def test_the_length_of_a_step_goes_with_the_root_of_the_minibatch(
    images: int, batch_size: int | None, taken: int
) -> None:
    recipe = Kfac(encoder_rate=0.5, batch_size=batch_size)
    optimizer = recipe.build(tiny_model(ARCHS["one"]), torch.zeros(images, 7), binarisation=DYNAMIC)
    scale = math.sqrt(taken / 400)
    factors = [group["factor"] for group in optimizer.param_groups]
    assert factors == [0.5 * scale, scale]


def holding(parameter: nn.Parameter) -> IWAE:
    """Return something with this one parameter, for an optimiser that asks for no more."""
    model = IWAE(1, ARCHS["one"])
    for name, _ in list(model.named_children()):
        delattr(model, name)
    model.register_parameter("only", parameter)
    return model


@pytest.mark.parametrize("recipe", [Kfac(passes=1), Kfac(passes=2), Fast(passes=2)], ids=str)
def test_the_last_pass_uses_the_runs_own_k_however_short_training_is(recipe: Recipe) -> None:
    assert recipe.k_at(recipe.total_passes - 1, 50) == 50


def minimise(recipe: Recipe, scale: float, steps: int = 50) -> torch.Tensor:
    """Follow the gradient of a fixed noisy quadratic, multiplied by `scale`."""
    generator = torch.Generator().manual_seed(0)
    parameter = nn.Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))
    optimizer = recipe.build(holding(parameter), torch.zeros(1, 1), binarisation=DYNAMIC)
    for step in range(steps):
        noise = torch.randn(3, generator=generator, dtype=torch.float64)
        parameter.grad = scale * (parameter.detach() + noise)
        optimizer.param_groups[0]["lr"] = recipe.rates.at(step / 10)
        optimizer.step()
    return parameter.detach()


def test_eps_on_the_mean_of_20_images_equals_the_authors_eps_on_their_sum() -> None:
    mean, total = minimise(Paper(eps=5e-6), 1e-4), minimise(Paper(eps=1e-4), 20e-4)
    torch.testing.assert_close(mean, total, rtol=1e-12, atol=0)
    assert not torch.allclose(mean, minimise(Paper(eps=1e-4), 1e-4), rtol=1e-3)


def test_adam_without_searches_is_torchs_fused_adam_also_from_a_saved_state() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(shape, generator=generator) for shape in ((5, 3), (4,))]
    ours, theirs = ([nn.Parameter(p.clone()) for p in drawn] for _ in range(2))
    settings: dict[str, Any] = {"betas": (0.8, 0.9), "eps": 1e-3}
    one, other = FusedAdam(ours, **settings), torch.optim.Adam(theirs, fused=True, **settings)
    for step in range(9):
        for group in (*one.param_groups, *other.param_groups):
            group["lr"] = 0.1 / (1 + step)
        for first, second in zip(ours, theirs, strict=True):
            first.grad = torch.randn(first.shape, generator=generator)
            second.grad = first.grad.clone()
        one.step()
        other.step()
        assert all(map(torch.equal, ours, theirs))
        state = one.state_dict()
        if step == 3:  # each goes on from what the other saved
            one = FusedAdam(ours, **settings)
            one.load_state_dict(other.state_dict())
            other = torch.optim.Adam(theirs, fused=True, **settings)
            other.load_state_dict(state)
        if step == 6:
            one = copy.deepcopy(one)
            ours = one.param_groups[0]["params"]
    assert [float(own["step"]) for own in state["state"].values()] == [9, 9]


def test_original_adam_follows_the_authors_recurrence_and_does_not_move_at_first() -> None:
    recipe = OriginalCode()
    generator = np.random.default_rng(0)
    start = generator.normal(size=4)
    gradients = generator.normal(size=(30, 4))
    parameter = nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = recipe.build(holding(parameter), torch.zeros(1, 1), binarisation=DYNAMIC)
    expected, m, v = start.copy(), np.zeros(4), np.ones(4)
    for t, gradient in enumerate(gradients, start=1):
        optimizer.param_groups[0]["lr"] = rate = 1e-3 / t
        parameter.grad = torch.from_numpy(gradient)
        optimizer.step()
        factor = rate * math.sqrt(1 - 0.999**t) / (1 - 0.99**t)
        expected = expected - factor * m / (np.sqrt(v) + 1e-4)
        m, v = 0.99 * m + 0.01 * gradient, 0.999 * v + 0.001 * gradient**2
        np.testing.assert_allclose(parameter.detach(), expected, rtol=1e-12)
        if t == 1:
            np.testing.assert_array_equal(parameter.detach(), start)
    assert OriginalCode.reduction == "sum"
    assert Paper.reduction == "mean"


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_optimizer_yaml_holds_the_defaults_of_its_class(name: str) -> None:
    import dataclasses

    from omegaconf import OmegaConf

    from iwae_cli.cli.conf_files import conf_folder

    values = OmegaConf.to_container(OmegaConf.load(conf_folder() / "optimizer" / f"{name}.yaml"))
    assert isinstance(values, dict)
    default = find_recipe({"name": name})
    assert dataclasses.asdict(default) == values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "paper", "stages": 0}, "stages must be in 1..12, got 0"),
        ({"name": "paper", "batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"name": "paper", "learning_rate": -1.0}, "learning_rate must be positive"),
        ({"name": "fast", "passes": 0}, "passes must be at least 1"),
        ({"name": "fast", "k_growth": [10, 5]}, "k_growth must rise"),
        ({"name": "fast", "stages": 3}, "unknown key 'stages'"),
        ({"name": "kfac", "damping": 0.0}, "damping must be in 1e-8..1e4, got 0.0"),
        ({"name": "kfac", "damping": 1e5}, "damping must be in 1e-8..1e4, got 100000.0"),
        ({"name": "kfac", "learning_rate": 11.0}, "learning_rate must be above 0 and at most 10"),
        ({"name": "kfac", "encoder_rate": 0.0}, "encoder_rate must be above 0 and at most 10"),
        ({"name": "kfac", "end_rate": 1.5}, "end_rate must be in [0, 1], got 1.5"),
        ({"name": "kfac", "momentum": 1.0}, "momentum must be in [0, 1), got 1.0"),
        ({"name": "kfac", "decay": -0.1}, "decay must be in [0, 1), got -0.1"),
        ({"name": "kfac", "batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"name": "kfac", "k_shares": [0.6]}, "a positive share for each entry of k_growth"),
        ({"name": "kfac", "k_shares": [0.6, 0.4]}, "with less than 1 in all, got [0.6, 0.4]"),
        ({"name": "kfac", "beta1": 0.9}, "unknown key 'beta1'"),
        ({"name": "papr"}, "unknown optimizer 'papr': did you mean 'paper'?"),
    ],
)
def test_options_out_of_range_are_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find_recipe(values)
    assert message in str(caught.value)
