"""`iwae verify`: what holds of a run, and that each kind of change is noticed."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from conftest import ARCHS, binary_images, changed_checkpoint, tiny_model

from iwae_cli.cli.main import main
from iwae_cli.core.atomic_write import write_arrays
from iwae_cli.core.config import Config
from iwae_cli.core.errors import ResultsError
from iwae_cli.evaluation.evaluate import evaluate
from iwae_cli.evaluation.plain import plain_log_weights
from iwae_cli.models import likelihoods


def verified(run: Path) -> tuple[int, dict[str, bool], Any]:
    """Return exit code, what holds by name, and the error."""
    done = CliRunner().invoke(main, ["verify", str(run), "--limit", "12", "--json"])
    rows = json.loads(done.stdout[done.stdout.index("[") : done.stdout.rindex("]") + 1])
    return done.exit_code, {row["check"]: row["holds"] for row in rows}, done.exception


@pytest.fixture
def evaluated(copied: Path) -> Path:
    """A run with an evaluation of 20 images by 300 samples, more than a block of noise."""
    evaluate(copied, k=[5, 300], limit=20)
    return copied


@pytest.mark.parametrize("arch", list(ARCHS))
@pytest.mark.parametrize("activation", ["tanh", "elu"])
@pytest.mark.parametrize(
    "likelihood",
    [{"name": "bernoulli"}, {"name": "continuous_bernoulli"}]
    + [{"name": "gaussian", "std": std} for std in (None, 0.3)],
    ids=["Bernoulli", "continuous Bernoulli", "Gaussian", "Gaussian of fixed noise"],
)
def test_plain_formulas_give_the_log_weights_of_the_model(
    arch: str, activation: str, likelihood: dict[str, Any]
) -> None:
    shape = dataclasses.replace(ARCHS[arch], activation=activation)
    model, x = tiny_model(shape, likelihood=likelihoods.find(likelihood)), binary_images(3)
    x = x if model.likelihood.binarises else 0.1 + 0.5 * x
    settings = Config(shape, likelihood=likelihood)
    model.generative[0].linear_layers()[-1].weight.data.mul_(40)  # type: ignore[operator]
    noise = model.draw_noise(6, 3, torch.Generator().manual_seed(0))
    expected = model.importance_sample(x, noise).log_w
    for i in range(3):
        found = plain_log_weights(model.state_dict(), x[i], tuple(h[:, i] for h in noise), settings)
        torch.testing.assert_close(found, expected[:, i])


def test_everything_of_an_untouched_run_holds(evaluated: Path) -> None:
    code, holds, _ = verified(evaluated)
    assert code == 0
    assert all(holds.values())
    rows = {"eval.csv test L_k k=5", "eval.csv test L_k k=300", "per_image.npz test k=300"}
    assert set(holds) == {"data", "identity", "config.yaml", *rows}


def test_an_older_row_of_the_same_images_does_no_harm(evaluated: Path) -> None:
    """A run that went on has both; per_image.npz has the estimates of the last one alone."""
    table = pd.read_csv(evaluated / "eval.csv").drop(columns="check")
    older = table.assign(steps=1, nll=table["nll"] + 1)
    pd.concat([older, table]).to_csv(evaluated / "eval.csv", index=False)
    code, holds, _ = verified(evaluated)
    assert code == 0
    assert all(holds.values())


def test_an_array_of_another_length_is_a_check_that_fails(evaluated: Path) -> None:
    with np.load(evaluated / "per_image.npz") as stored:
        arrays = {name: values[:7] for name, values in stored.items()}
    write_arrays(evaluated / "per_image.npz", arrays)
    assert "eval.csv test L_k k=300" in wrong(evaluated)


def wrong(run: Path) -> set[str]:
    """Return what does not hold, after checking that the command failed."""
    code, holds, error = verified(run)
    assert code == 1
    assert isinstance(error, ResultsError | SystemExit)
    return {name for name, held in holds.items() if not held}


def test_a_changed_number_of_the_table_is_noticed(evaluated: Path) -> None:
    table = pd.read_csv(evaluated / "eval.csv")
    table.loc[0, "nll"] -= 1e-4
    table.to_csv(evaluated / "eval.csv", index=False)
    done = CliRunner().invoke(main, ["verify", str(evaluated)])
    assert done.exit_code == 1
    assert "line 2 was changed: its checksum is another" in done.output
    table.iloc[:, :-1].to_csv(evaluated / "eval.csv", index=False)  # nor a table without checksums
    assert wrong(evaluated) == {"eval.csv test L_k k=5"}


def test_a_changed_estimate_of_one_image_is_noticed(evaluated: Path) -> None:
    with np.load(evaluated / "per_image.npz") as stored:
        arrays = dict(stored)
    arrays["test_k300_n20_seed0"][7] += 0.1
    write_arrays(evaluated / "per_image.npz", arrays)
    assert wrong(evaluated) == {"eval.csv test L_k k=300", "per_image.npz test k=300"}


def test_other_parameters_are_noticed(evaluated: Path) -> None:
    with changed_checkpoint(evaluated) as content:
        content["model"]["generative.0.logits.bias"] += 0.1
    assert wrong(evaluated) == {"per_image.npz test k=300"}


def test_another_config_is_noticed_and_left_as_it_is(evaluated: Path) -> None:
    file = evaluated / "config.yaml"
    file.write_text(file.read_text().replace("k: 3", "k: 4"))
    changed = file.read_text()
    assert wrong(evaluated) == {"config.yaml"}
    assert file.read_text() == changed


def test_a_checkpoint_of_another_config_has_another_identity(evaluated: Path) -> None:
    with changed_checkpoint(evaluated) as content:
        content["config"]["k"] = 4
    assert wrong(evaluated) == {"config.yaml", "identity"}
