"""Profiles: what `make reproduce` runs, and that one command carries it out."""

import json
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, Command

from iwae_cli.cli.launch import Plan, plan
from iwae_cli.cli.profiles import sweeps_of
from iwae_cli.core.config import Config
from iwae_cli.core.errors import ConfigError
from iwae_cli.training.components import components_of

MINE = """
every: outputs=here dataset=digits arch.latents=[3] arch.hidden=[[8]] threads=1 optimizer=kfac
sweeps:
  - hydra.mode=MULTIRUN objective=vae,iwae k=2 optimizer.passes=2 then.eval=[4]
  - >-
    second_stage=iwae_after_vae optimizer=kfac optimizer.passes=1 optimizer.end_rate=1
    optimizer.learning_rate=0.02 optimizer.k_growth=[] optimizer.k_shares=[] k=3
    init_from.k=2 init_from.optimizer.name=kfac +init_from.optimizer.passes=2
"""


def planned(name: str, *overrides: str) -> list[Plan]:
    return [plan(sweep, multirun=False) for sweep in sweeps_of([f"profile={name}", *overrides])]


def configs(name: str) -> list[Config]:
    found = [point.config for one in planned(name) for point in one.points]
    return found + [parent for config in found if (parent := config.parent())]


def passes(config: Config) -> int:
    return components_of(config).recipe.total_passes


def test_without_a_profile_there_is_one_sweep_and_with_one_the_later_override_counts() -> None:
    assert sweeps_of(["k=5", "seed=1"]) == [["k=5", "seed=1"]]
    first, second = sweeps_of(["profile=quick", "dataset=mnist", "optimizer.passes=3"])
    assert {"dataset=mnist", "optimizer.passes=3", "experiment=table1"} <= set(first)
    assert not {"dataset=digits", "optimizer.passes=150"} & set(first)
    assert "experiment=table2" in second


@pytest.mark.parametrize(
    ("profile", "message"),
    [("fst", "unknown profile 'fst': did you mean 'fast'?"), ("", "unknown profile ''")],
)
def test_an_unknown_profile_is_one_line_that_names_the_three(profile: str, message: str) -> None:
    with pytest.raises(ConfigError, match="known: fast, paper, quick") as failed:
        sweeps_of([f"profile={profile}"])
    assert message in str(failed.value)
    assert "\n" not in str(failed.value)


def test_the_fast_profile_is_the_whole_paper_with_as_many_passes_for_vae_as_for_iwae() -> None:
    found = configs("fast")
    first = [config for config in found if config.init_from is None]
    assert {config.optimizer["name"] for config in found} == {"kfac"}
    for_omniglot = {1: 330, 5: 510, 50: 940}
    for_mnist = {1: 130, 5: 200, 50: 370}
    for config in first:
        own = for_omniglot if config.dataset["name"] == "omniglot" else for_mnist
        assert passes(config) == own[config.k]
    grid = {
        (config.dataset["name"], config.arch.name, config.objective["name"], config.k)
        for config in first
        if config.arch.latents != [2] and config.then.eval
    }
    assert len(grid) == 3 * 2 * 2 * 3
    assert all(5000 in config.then.eval for config in found if config.arch.latents != [2])
    assert all(config.then.check_active_units and config.then.pictures for config in found)
    seconds = [config for config in found if config.init_from]
    assert {(c.objective["name"], c.k, passes(c)) for c in seconds} == {
        ("iwae", 50, 200),
        ("vae", 1, 200),
    }
    recipes = [components_of(config).recipe for config in seconds]
    assert all(recipe.rates.at(0) == recipe.rates.at(199) == 0.02 for recipe in recipes)
    assert all(recipe.k_at(0, 50) == 50 for recipe in recipes)
    assert sum(config.arch.latents == [2] for config in found) == 3


def test_the_papers_profile_is_adam_throughout() -> None:
    found = configs("paper")
    assert len(found) == 24 + 2 + 12 + 2
    assert {config.optimizer["name"] for config in found} == {"paper", "constant"}


@pytest.mark.long
def test_a_profile_runs_every_sweep_and_the_second_stage_goes_on_from_the_first(
    iwae: Command, tmp_path: Path
) -> None:
    (tmp_path / "mine" / "profile").mkdir(parents=True)
    (tmp_path / "mine" / "profile" / "small.yaml").write_text(MINE)
    asked = ("train", "profile=small", "--config-dir", "mine", "--json")
    listed = iwae(*asked, "--dry-run")
    assert listed.returncode == 0, listed.stderr
    runs = {row["run"] for row in json.loads(listed.stdout)}
    assert len(runs) == 3, "two first stages, of which one is the second stage's parent"
    done = iwae(*asked)
    assert done.returncode == 0, done.stderr
    assert "sweep 2 of 2" in done.stderr
    assert len(json.loads(done.stdout)) == 3
    assert {path.name for path in (tmp_path / "here" / "runs").iterdir()} == runs
    (child,) = (tmp_path / "here" / "runs").glob("*-iwae-k3-*")
    assert pd.read_csv(child / "metrics.csv")["learning_rate"].tolist() == [0.02]


def test_a_sweep_that_cannot_run_is_named_before_any_starts(iwae: Command, tmp_path: Path) -> None:
    (tmp_path / "mine" / "profile").mkdir(parents=True)
    bad = MINE.replace("k=2 optimizer.passes=2", "k=0 optimizer.passes=2")
    (tmp_path / "mine" / "profile" / "small.yaml").write_text(bad)
    done = iwae("train", "profile=small", "--config-dir", "mine")
    assert done.returncode == 2
    assert "k must be at least 1" in done.stderr
    assert not (tmp_path / "here").exists(), "all sweeps are checked before one starts"


def test_the_makefile_names_no_recipe() -> None:
    text = (ROOT / "Makefile").read_text()
    assert "profile=$(PROFILE)" in text
    assert "optimizer" not in text
