"""Checkpoints: what was written is read, and anything else is one line."""

import copy
import dataclasses
import io
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT, changed_checkpoint, settings

from iwae_cli.core.errors import CheckpointError
from iwae_cli.runs.checkpoint import Checkpoint
from iwae_cli.runs.checkpoint_file import read_content
from iwae_cli.training.resolve import prepare
from iwae_cli.training.resume import restore
from iwae_cli.training.run import new_trainer

Change = Callable[[dict[str, Any]], object]


def refused(path: Path) -> str:
    """Return the one line by which a checkpoint is refused."""
    with pytest.raises(CheckpointError) as caught:
        Checkpoint.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def file(copied: Path) -> Path:
    """The checkpoint of a run of one pass."""
    return copied / "checkpoint.pt"


def test_what_was_written_is_read(file: Path, tmp_path: Path) -> None:
    stored = Checkpoint.read(file)
    (tmp_path / "other").mkdir()
    stored.write(tmp_path / "other" / "copy.pt")
    again = Checkpoint.read(tmp_path / "other" / "copy.pt")
    for one in dataclasses.fields(Checkpoint):
        if one.name not in ("model", "optimizer", "training"):
            assert getattr(stored, one.name) == getattr(again, one.name)
    assert again.parameters_digest == stored.parameters_digest
    for name, tensor in stored.model.items():
        assert torch.equal(again.model[name], tensor)
    assert str(again.training.metrics) == str(stored.training.metrics)
    assert os.listdir(tmp_path / "other") == ["copy.pt"]


def test_the_digest_is_that_of_the_parameters_values(file: Path) -> None:
    stored = Checkpoint.read(file)
    changed = copy.deepcopy(stored.model)
    changed["generative.0.logits.bias"][0] += 1e-6
    other = dataclasses.replace(stored, model=changed)
    assert other.parameters_digest != stored.parameters_digest
    assert len(stored.parameters_digest) == 64


@pytest.mark.parametrize("file", sorted((ROOT / "outputs/paper/models").glob("*.pt")), ids=str)
def test_models_of_earlier_versions_are_read(file: Path) -> None:
    stored = Checkpoint.read(file)
    assert stored.training.metrics[-1].k == 50
    assert sum(p.numel() for p in stored.network().parameters()) > 400_000


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("kind", ["pickle", "inside", "tar", "torchscript", "npy", "zip of pickle"])
def test_a_hostile_file_is_refused_and_nothing_in_it_runs(tmp_path: Path, kind: str) -> None:
    file, hostile = tmp_path / "checkpoint.pt", Malicious(tmp_path / "ran")
    stream = pickle.dumps(hostile)
    if kind == "pickle":
        file.write_bytes(stream)
    elif kind == "inside":
        torch.save({"format": 1, "model": hostile}, file)
    elif kind == "tar":
        with tarfile.open(file, "w") as archive:
            for name in ("sys_info", "pickle", "storages", "tensors"):
                member = tarfile.TarInfo(name)
                member.size = len(stream)
                archive.addfile(member, io.BytesIO(stream))
    elif kind == "torchscript":
        with zipfile.ZipFile(file, "w") as written:
            written.writestr("a/code/__torch__.py", "import os")
            for name in ("a/data.pkl", "a/constants.pkl"):
                written.writestr(name, stream)
            written.writestr("a/version", "3")
    elif kind == "npy":
        with file.open("wb") as stream_out:
            np.save(stream_out, np.array([hostile], dtype=object), allow_pickle=True)
    else:
        with zipfile.ZipFile(file, "w") as written:
            written.writestr("archive/data.pkl", stream)
            written.writestr("archive/version", "3")
    assert "nothing in it was run" in refused(file)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("keep", [0, 1, 100, -100, -1])
def test_a_truncated_file_is_refused_in_one_line(file: Path, keep: int) -> None:
    file.write_bytes(file.read_bytes()[:keep])
    assert "is damaged" in refused(file)


@pytest.mark.parametrize("junk", [b"junk" * 1000, b"\x00" * 5000, b"PK\x03\x04" + b"x" * 500])
def test_junk_is_refused(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(junk)
    assert "is damaged" in refused(path)


def test_a_flipped_byte_inside_a_tensor_is_noticed(file: Path) -> None:
    parameter = Checkpoint.read(file).model["generative.0.logits.weight"]
    content = bytearray(file.read_bytes())
    content[content.index(parameter.numpy().tobytes()) + 2] ^= 0x40
    file.write_bytes(bytes(content))
    assert "is damaged" in refused(file)


def test_a_small_file_with_a_huge_member_is_refused_before_it_is_read(file: Path) -> None:
    packed = file.with_name("packed.pt")
    with zipfile.ZipFile(file) as whole, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as made:
        for member in whole.infolist():
            made.writestr(member.filename, whole.read(member))
        with made.open("checkpoint/data/99", "w", force_zip64=True) as huge:
            for _ in range(64):
                huge.write(bytes(2**20))
    assert packed.stat().st_size < 2**20
    assert "is damaged" in refused(packed)


def test_nested_lists_that_grow_without_end_are_refused(file: Path) -> None:
    with changed_checkpoint(file) as content:
        bomb: list[Any] = []
        for _ in range(60):
            bomb = [bomb, bomb]
        content["config"]["bomb"] = bomb
    assert "is damaged" in refused(file)


def test_a_tensor_that_is_larger_than_its_memory_is_refused(file: Path) -> None:
    with changed_checkpoint(file) as content:
        content["training"]["order"] = torch.zeros(1, dtype=torch.int32).expand(2**40)
    assert "is damaged" in refused(file)


def test_a_missing_file_and_other_formats_say_so(tmp_path: Path, file: Path) -> None:
    assert "there is no checkpoint" in refused(tmp_path / "none.pt")
    torch.save({"weights": torch.zeros(2)}, tmp_path / "other.pt")
    assert "has no key 'config'" in refused(tmp_path / "other.pt")
    with changed_checkpoint(file) as content:
        content |= {"format": 99, "versions": {"iwae": "9.0"}}
    assert "has format 99, this version of iwae reads format 1" in refused(file)


def test_a_file_that_may_not_be_read_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr("iwae_cli.runs.checkpoint_file.zipfile.ZipFile", refuse)
    assert "cannot be read: Permission denied" in refused(file)


def put(*keys: str, value: object) -> Change:
    """Return a change of one value deep inside a checkpoint's content."""

    def change(content: dict[str, Any]) -> None:
        node = content
        for key in keys[:-1]:
            node = node[key]
        node[keys[-1]] = value

    return change


def drop(*keys: str) -> Change:
    def change(content: dict[str, Any]) -> None:
        node = content
        for key in keys[:-1]:
            node = node[key]
        del node[keys[-1]]

    return change


WEIGHT, BIAS = "generative.0.logits.weight", "generative.0.logits.bias"
UNSOUND: dict[str, Change] = {
    "config None": put("config", value=None),
    "config a list": put("config", value=[1, 2]),
    "no arch": drop("config", "arch"),
    "arch a text": put("config", "arch", value="one_layer"),
    "arch with another key": put("config", "arch", "depth", value=2),
    "dataset without name": put("config", "dataset", value={}),
    "dataset with a number as key": put("config", "dataset", value={"name": "digits", 3: 4}),
    "objective None": put("config", "objective", value=None),
    "k zero": put("config", "k", value=0),
    "k a text": put("config", "k", value="five"),
    "hidden huge": put("config", "arch", "hidden", value=[[10**9], [10**9]]),
    "hidden beyond all tensors": put("config", "arch", "hidden", value=[[10**18], [10**18]]),
    "another architecture": put("config", "arch", "latents", value=[4, 4]),
    "a layer too many": put("config", "arch", value={"latents": [4] * 99, "hidden": [[8]] * 99}),
    "identity a number": put("identity", value=5),
    "identity short": put("identity", value="abc"),
    "no identity": drop("identity"),
    "no data hash": drop("data", "hash"),
    "data hash no hash": put("data", "hash", value="digits"),
    "data None": put("data", value=None),
    "pixels a text": put("data", "pixels", value="64"),
    "pixels negative": put("data", "pixels", value=-64),
    "pixels true": put("data", "pixels", value=True),
    "image shape of another size": put("data", "image_shape", value=(3, 3)),
    "image shape a number": put("data", "image_shape", value=64),
    "label None": put("data", "label", value=None),
    "model None": put("model", value=None),
    "model empty": put("model", value={}),
    "a parameter missing": drop("model", BIAS),
    "a parameter of another shape": put("model", BIAS, value=torch.zeros(63)),
    "a parameter of another type": put("model", BIAS, value=torch.zeros(64, dtype=torch.int64)),
    "a parameter that is a list": put("model", BIAS, value=[0.0] * 64),
    "a parameter NaN": put("model", BIAS, value=torch.full((64,), torch.nan)),
    "a parameter infinite": put("model", BIAS, value=torch.full((64,), -torch.inf)),
    "optimizer None": put("optimizer", value=None),
    "versions a list": put("versions", value=["torch"]),
    "training None": put("training", value=None),
    "passes far beyond": put("training", "pass_index", value=10**6),
    "passes negative": put("training", "pass_index", value=-1),
    "passes a float": put("training", "pass_index", value=1.0),
    "steps of no whole passes": put("training", "step_in_pass", value=10**5),
    "steps zero": put("training", "steps", value=0),
    "no metrics": drop("training", "metrics"),
    "metrics None": put("training", "metrics", value=None),
    "metrics of texts": put("training", "metrics", value=[["a"] * 7]),
    "metrics with a row cut": put("training", "metrics", value=[[1, 3, 0.1]]),
    "metrics of another pass": put("training", "metrics", value=[[2, 3, 0.1, 0.0, 0.0, 1.0, 1.0]]),
    "seconds NaN": put("training", "seconds", value=float("nan")),
    "bound a text": put("training", "bound_sum", value="0"),
    "order with an image twice": put(
        "training", "order", value=torch.zeros(1, dtype=torch.int32)[[0, 0]]
    ),
    "order a list": put("training", "order", value=[0, 1]),
    "generator of floats": put("training", "generator", value=torch.zeros(5056)),
}


@pytest.mark.parametrize("change", UNSOUND.values(), ids=UNSOUND)
def test_what_no_run_can_have_written_is_refused_in_one_line(file: Path, change: Change) -> None:
    with changed_checkpoint(file) as content:
        change(content)
    assert "is no sound checkpoint of iwae: " in refused(file)


def optimizer_state(name: str, value: object) -> Change:
    def change(content: dict[str, Any]) -> None:
        content["optimizer"]["state"][0][name] = value

    return change


UNFIT: dict[str, Change] = {
    "moments of another shape": optimizer_state("exp_avg", torch.zeros(3)),
    "moments huge": optimizer_state("exp_avg_sq", torch.zeros(10**6)),
    "moments of whole numbers": optimizer_state("exp_avg", torch.zeros(8, 64, dtype=torch.int32)),
    "moments NaN": optimizer_state("exp_avg", torch.full((8, 64), torch.nan)),
    "second moments negative": optimizer_state("exp_avg_sq", torch.full((8, 64), -1.0)),
    "steps of another shape": optimizer_state("step", torch.zeros(5)),
    "steps None": optimizer_state("step", None),
    "another entry": optimizer_state("momentum", torch.zeros(8, 64)),
    "a parameter without": lambda content: content["optimizer"]["state"].pop(1),
    "no state": lambda content: content["optimizer"].pop("state"),
    "state None": put("optimizer", "state", value=None),
    "state of one that has not begun": put("optimizer", "state", value={}),
    "order of other data": put("training", "order", value=torch.arange(9, dtype=torch.int32)),
    "order missing": put("training", "order", value=None),
    "generator short": put("training", "generator", value=torch.zeros(7, dtype=torch.uint8)),
    "generator missing": put("training", "generator", value=None),
    "more steps": lambda content: content["training"].update(steps=10**6),
    "more passes": lambda content: content["training"].update(
        pass_index=2,
        steps=2 * content["training"]["steps"],
        metrics=[[n, *content["training"]["metrics"][0][1:]] for n in (1, 2)],
    ),
}


@pytest.mark.parametrize("change", UNFIT.values(), ids=UNFIT)
def test_what_training_cannot_go_on_with_is_refused_before_it_is_used(
    copied: Path, change: Change
) -> None:
    run = prepare(settings(copied.parent))
    run.__dict__["folder"] = type(run.folder)(copied)
    with changed_checkpoint(copied) as content:
        change(content)
    with pytest.raises(CheckpointError, match="is no sound checkpoint of iwae") as caught:
        restore(new_trainer(run), run)
    assert "\n" not in str(caught.value)


FULL_DISK = """
import resource, sys
from pathlib import Path
import torch
from iwae_cli.runs.checkpoint_file import write_content
from iwae_cli.core.errors import CheckpointError
path = Path(sys.argv[1])
write_content(path, {"model": {"w": torch.zeros(10)}})
resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))
try:
    write_content(path, {"model": {"w": torch.ones(10_000)}})
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
    assert not bool(read_content(path)["model"]["w"].any())
    assert os.listdir(tmp_path) == ["checkpoint.pt"]
