"""What is said where there is not enough memory: one line, before a step or in it."""

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Command, limit, tiny_run

from iwae_cli.core.config import Arch
from iwae_cli.core.errors import OutOfMemory
from iwae_cli.core.memory import available_bytes, enough_memory
from iwae_cli.models.iwae import IWAE
from iwae_cli.training.memory import least_bytes

pytestmark = pytest.mark.long

GIGABYTE = 2**30


def test_a_k_that_cannot_fit_is_refused_before_the_first_step(iwae: Command) -> None:
    done = iwae("train", "dataset=digits", "k=1000000000")
    assert done.returncode == 1
    assert "not enough memory for k=1000000000 with batch_size=52" in done.stderr
    assert "GB are free" in done.stderr
    assert "Traceback" not in done.stderr


def raised(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    "fail",
    [
        lambda: np.empty(2**45),
        lambda: torch.empty(2**45),
        lambda: raised(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")),
    ],
)
def test_memory_that_runs_out_is_one_line(fail: Callable[[], object]) -> None:
    with pytest.raises(OutOfMemory, match="not enough memory for k=5"), enough_memory("k=5"):
        fail()


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shape"), enough_memory("k=5"):
        raise RuntimeError("shape mismatch")


def test_the_limit_of_a_process_is_seen() -> None:
    code = (
        "from iwae_cli.core.memory import available_bytes; import resource; "
        f"resource.setrlimit(resource.RLIMIT_AS, ({GIGABYTE}, {GIGABYTE})); "
        "print(available_bytes())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 < float(done.stdout) < GIGABYTE
    assert available_bytes() > 0


def test_the_least_need_counts_noise_and_with_all_rows_activations() -> None:
    model = IWAE(7, Arch(latents=[5], hidden=[[10]]))
    few = least_bytes(model, k=2, images=3, all_rows=False)
    assert few == 6 * 12 * 5
    assert least_bytes(model, k=2, images=3, all_rows=True) > few


def test_an_evaluation_under_a_limit_of_memory_says_so_or_succeeds(
    iwae: Command, tmp_path: Path, environment: dict[str, str]
) -> None:
    assert iwae(*tiny_run()).returncode == 0
    arguments = [sys.executable, "-m", "iwae_cli", "eval", "--k", "100000000", "--limit", "2"]
    memory = 4 * GIGABYTE
    done = subprocess.run(
        arguments,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=limit(300),
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (memory, memory)),
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("iwae: not enough memory for")
    assert "Traceback" not in done.stderr
