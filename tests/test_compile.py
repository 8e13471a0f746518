"""`compile=true`: the same results within a stated tolerance, and one line without a compiler."""

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Command, tiny_run

from iwae_cli import objectives
from iwae_cli.core import config
from iwae_cli.core.config import Arch
from iwae_cli.core.errors import ConfigError
from iwae_cli.models.initialisation import initialise
from iwae_cli.models.iwae import IWAE
from iwae_cli.training.components import validate


def test_without_a_compiler_one_line_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    names = {"dataset": "digits", "objective": "iwae", "optimizer": "paper"}
    nodes = {node: {"name": name} for node, name in names.items()}
    with pytest.raises(ConfigError, match="compile=true needs a C\\+\\+ compiler"):
        validate(config.parse({**nodes, "compile": True, "device": "cpu"}))
    validate(config.parse({**nodes, "device": "cpu"}))


def test_the_row_lottery_is_not_compiled_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iwae_cli.training.components.check_compiler", lambda _: None)
    names = {"dataset": "digits", "objective": "iwae", "optimizer": "kfac"}
    nodes: dict[str, Any] = {node: {"name": name} for node, name in names.items()}
    with pytest.raises(ConfigError, match="compile=true is .* add optimizer.all_rows=true"):
        validate(config.parse({**nodes, "compile": True, "device": "cpu"}))
    nodes["optimizer"]["all_rows"] = True
    validate(config.parse({**nodes, "compile": True, "device": "cpu"}))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the compiler's own
@pytest.mark.parametrize(
    ("products", "tolerance"), [(None, 1e-4), (torch.bfloat16, 0.05)], ids=["float32", "bfloat16"]
)
def test_compiled_gradients_are_those_of_plain_code(
    products: torch.dtype | None, tolerance: float
) -> None:
    """Relative to the largest element of each parameter's gradient; the bound in nats."""
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(20, 784, generator=generator) < 0.2).float()
    found = []
    for compiled in (False, True):
        model = IWAE(784, Arch()).multiply_in(products)
        own = torch.Generator().manual_seed(1)
        initialise(model, "glorot", generator=own, mean_image=torch.full((784,), 0.2))
        if compiled:
            model.compile_training()
        noise = model.draw_noise(20, 20, torch.Generator().manual_seed(2))
        found.append(model.gradients(x, noise, objectives.find("dreg")()))
    (plain_bound, plain), (bound, gradients) = found
    torch.testing.assert_close(bound, plain_bound, rtol=0, atol=100 * tolerance)
    for ours, theirs in zip(gradients, plain, strict=True):
        assert float((ours - theirs).abs().max() / theirs.abs().max()) < tolerance


@pytest.mark.slow
def test_a_compiled_run_is_the_same_run_and_says_so(iwae: Command) -> None:
    first = iwae(*tiny_run("compile=true"))
    assert first.returncode == 0, first.stderr
    again = iwae(*tiny_run())
    assert "already finished; nothing to train" in again.stdout
