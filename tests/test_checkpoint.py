import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from iwae_cli.core.errors import CheckpointError
from iwae_cli.runs import checkpoint

CONTENT: dict[str, Any] = {key: {} for key in checkpoint.KEYS if key != "format"}


def saved(path: Path, **changes: object) -> Path:
    checkpoint.save(path, {**CONTENT, **changes})
    return path


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    parameters = {"weight": torch.arange(3.0), "nested": [1, 0.1, None, "text", {"a": True}]}
    path = saved(tmp_path / "checkpoint.pt", model=parameters)
    loaded = checkpoint.load(path)["model"]
    torch.testing.assert_close(loaded["weight"], parameters["weight"])
    assert loaded["nested"] == parameters["nested"]
    assert os.listdir(tmp_path) == ["checkpoint.pt"]


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    plain, inside = tmp_path / "plain.pt", tmp_path / "inside.pt"
    plain.write_bytes(pickle.dumps(Malicious()))
    torch.save({"format": 1, **CONTENT, "model": Malicious()}, inside)
    for path in (plain, inside):
        with pytest.raises(CheckpointError, match="nothing in it was run"):
            checkpoint.load(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("keep", [0, 1, 100, -100, -1])
def test_a_truncated_file_is_refused_in_one_line(tmp_path: Path, keep: int) -> None:
    path = saved(tmp_path / "checkpoint.pt", model={"w": torch.zeros(1000)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("junk", [b"junk" * 1000, b"\x00" * 5000, b"PK\x03\x04" + b"x" * 500])
def test_junk_is_refused(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(junk)
    with pytest.raises(CheckpointError):
        checkpoint.load(path)


def test_a_flipped_byte_inside_a_tensor_is_noticed(tmp_path: Path) -> None:
    path = saved(tmp_path / "checkpoint.pt", model={"w": torch.arange(1000.0)})
    content = bytearray(path.read_bytes())
    where = content.index(torch.arange(1000.0).numpy().tobytes()[400:800])
    content[where + 2] ^= 0x40
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="is damaged"):
        checkpoint.load(path)


def test_a_missing_file_and_other_formats_say_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        checkpoint.load(tmp_path / "none.pt")
    torch.save({"weights": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="keys are missing"):
        checkpoint.load(tmp_path / "other.pt")
    torch.save({**CONTENT, "format": 99, "versions": {"iwae": "9.0"}}, tmp_path / "new.pt")
    with pytest.raises(CheckpointError, match="has format 99, this version of iwae reads format 1"):
        checkpoint.load(tmp_path / "new.pt")


FULL_DISK = """
import resource, sys
from pathlib import Path
import torch
from iwae_cli.runs import checkpoint
from iwae_cli.core.errors import CheckpointError
path = Path(sys.argv[1])
content = {key: {} for key in checkpoint.KEYS if key != "format"}
checkpoint.save(path, {**content, "model": {"w": torch.zeros(10)}})
resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))
try:
    checkpoint.save(path, {**content, "model": {"w": torch.ones(10_000)}})
except CheckpointError as error:
    print(error)
"""


def test_a_full_disk_leaves_the_last_good_checkpoint_and_nothing_half_written(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    path = tmp_path / "checkpoint.pt"
    child = subprocess.run(
        [sys.executable, "-c", FULL_DISK, path],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "could not save" in child.stdout
    assert "the last good checkpoint is untouched" in child.stdout
    assert not bool(checkpoint.load(path)["model"]["w"].any())
    assert os.listdir(tmp_path) == ["checkpoint.pt"]
