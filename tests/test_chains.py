"""AIS of a trained run: rows, frozen steps, resuming, messages."""

import re
import signal
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from conftest import changed_checkpoint

from iwae_cli.cli.main import main
from iwae_cli.core.errors import ConfigError, ResultsError
from iwae_cli.evaluation import ais, chains
from iwae_cli.evaluation.evaluate import evaluate
from iwae_cli.evaluation.trained_run import TrainedRun

AIS = "ais,temperatures=6,chains=4,leapfrogs=2"


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """Raise KeyboardInterrupt in this thread after some time."""
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def test_annealed_rows_are_lower_bounds_nearer_than_as_many_samples(copied: Path) -> None:
    row = evaluate(copied, estimator=AIS, limit=30)[0]
    assert (row["estimator"], row["k"]) == ("ais(temperatures=6,leapfrogs=2)", 4)
    assert row["bound_kind"] == "lower"
    assert row["nll"] < evaluate(copied, k=[4], limit=30)[0]["nll"]
    assert evaluate(copied, estimator=AIS, limit=30)[0]["seconds"] == row["seconds"]
    with np.load(copied / "per_image.npz") as per_image:
        log_p = per_image["test_k4_n30_seed0_ais(temperatures=6,leapfrogs=2)"]
    assert -log_p.mean() == pytest.approx(row["nll"])
    assert len(pd.read_csv(copied / "eval.csv")) == 2


def test_step_sizes_are_found_once_and_every_seed_uses_them(copied: Path) -> None:
    evaluate(copied, estimator=AIS, limit=3)
    before = (copied / "ais_steps.npz").read_bytes()
    other = evaluate(copied, estimator=AIS, limit=3, seed=1)[0]
    assert (copied / "ais_steps.npz").read_bytes() == before
    assert other["nll"] != evaluate(copied, estimator=AIS, limit=3)[0]["nll"]
    (copied / "ais_steps.npz").write_bytes(b"junk")
    with pytest.raises(ResultsError, match=r"ais_steps.npz is damaged"):
        evaluate(copied, estimator=AIS, limit=4)


def test_a_stopped_evaluation_goes_on_and_gives_what_a_whole_one_gives(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chains, "ROWS", 80)  # 20 images of 4 chains
    whole = evaluate(copied, estimator=AIS, limit=50)[0]
    (copied / "eval.csv").unlink()
    blocks = []

    def stopped(*arguments: Any, **options: Any) -> Any:
        blocks.append(1)
        if len(blocks) == 2:
            raise KeyboardInterrupt
        return ais.anneal(*arguments, **options)

    monkeypatch.setattr(chains, "anneal", stopped)
    with pytest.raises(KeyboardInterrupt):
        evaluate(copied, estimator=AIS, limit=50)
    assert evaluate(copied, estimator=AIS, limit=50)[0]["nll"] == whole["nll"]
    assert len(blocks) == 4  # three blocks, of which the second was begun twice
    assert not list(copied.glob(".ais*"))


def test_a_changed_model_takes_over_neither_steps_nor_half_done_estimates(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*arguments: Any, **options: Any) -> Any:
        if (copied / "ais_steps.npz").exists() and list(copied.glob(".ais*")):
            raise KeyboardInterrupt
        return ais.anneal(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(chains, "ROWS", 80)
        patch.setattr(chains, "anneal", stopped)
        with pytest.raises(KeyboardInterrupt):
            evaluate(copied, estimator=AIS, limit=30)
    assert list(copied.glob(".ais*"))
    with changed_checkpoint(copied) as content:
        content["model"]["generative.0.logits.bias"] += 0.5
    found = evaluate(copied, estimator=AIS, limit=30)[0]["nll"]
    for file in (*copied.glob(".ais*"), copied / "ais_steps.npz", copied / "eval.csv"):
        file.unlink(missing_ok=True)
    assert evaluate(copied, estimator=AIS, limit=30)[0]["nll"] == found


def test_an_estimate_does_not_depend_on_what_was_estimated_before(copied: Path) -> None:
    evaluate(copied, estimator="ais,temperatures=6,chains=2,leapfrogs=2", limit=3, seed=1)
    after = evaluate(copied, estimator=AIS, limit=3)[0]["nll"]
    for name in ("ais_steps.npz", "eval.csv"):
        (copied / name).unlink()
    assert evaluate(copied, estimator=AIS, limit=3)[0]["nll"] == after


def test_blocks_on_two_cores_give_what_one_core_gives_and_end_when_told(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chains, "ROWS", 12)
    run = TrainedRun(copied)
    work = ais.Annealing(temperatures=4, chains=4, leapfrogs=2)
    steps = torch.full((3,), 0.2)

    def blocks(workers: int) -> Iterator[torch.Tensor]:
        monkeypatch.setattr(chains, "workers_for", lambda _: workers)
        return chains.annealed_blocks(run, run.images("test", 7), work, steps, first=0, seed=0)

    for one, two in zip(blocks(1), blocks(2), strict=True):
        torch.testing.assert_close(one, two)
    ended = []

    def counted(*arguments: Any, **options: Any) -> Any:
        try:
            return ais.anneal(*arguments, **options)
        except CancelledError:
            ended.append(1)
            raise

    monkeypatch.setattr(chains, "anneal", counted)
    work = ais.Annealing(temperatures=10**6, chains=4, leapfrogs=2)
    steps = torch.cat([steps, torch.full((10**6 - 4,), 0.2)])
    with pytest.raises(KeyboardInterrupt), interrupted_after(0.3):
        next(blocks(2))
    assert ended  # hours of work


def test_an_image_alone_gives_what_it_gives_among_others(copied: Path) -> None:
    names = "test_k4_n{}_seed0_ais(temperatures=6,leapfrogs=2)"
    for limit in (2, 21):
        evaluate(copied, estimator=AIS, limit=limit)
    with np.load(copied / "per_image.npz") as found:
        fewer, more = found[names.format(2)], found[names.format(21)]
    np.testing.assert_allclose(fewer, more[:2], rtol=1e-3)  # float32 trajectories


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        ("ais,chains=0", "chains must be at least 1, got 0"),
        ("ais,chain=2", "did you mean 'chains'"),
        ("ais,2", "cannot read '2': parameters are written key=value"),
        ("aiss", "did you mean 'ais'"),
    ],
)
def test_bad_settings_are_named_before_any_work(estimator: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        evaluate("no such run", estimator=estimator)


def test_a_number_of_samples_has_no_meaning_for_chains(copied: Path) -> None:
    asked = ["eval", str(copied), "--estimator", AIS, "--k", "5"]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 2
    assert "--k is not for ais" in done.output
