"""Damaged files of a run: each damage is noticed in one line, or changes nothing.

`IWAE_FUZZ_TRIALS` sets the number of trials of each test.
"""

import csv
import os
import random
import shutil
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from conftest import settings
from hypothesis import HealthCheck, given
from hypothesis import settings as trials
from hypothesis import strategies as st

from iwae_cli.core.errors import CheckpointError, IwaeError
from iwae_cli.evaluation.active_units import active_units
from iwae_cli.evaluation.evaluate import evaluate
from iwae_cli.reports.read_runs import RunReader
from iwae_cli.runs.arrays_file import read_arrays
from iwae_cli.runs.checked_table import parsed
from iwae_cli.runs.checkpoint import Checkpoint
from iwae_cli.runs.checkpoint_file import read_content
from iwae_cli.runs.config_yaml import config_digest, read_config
from iwae_cli.runs.environment_json import read_environment
from iwae_cli.training import run as training

Result = TypeVar("Result")
TRIALS = int(os.environ.get("IWAE_FUZZ_TRIALS", "40"))
many = trials(
    max_examples=TRIALS,
    deadline=None,
    derandomize=TRIALS <= 40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TABLES = ("metrics.csv", "eval.csv", "active_units.csv", "removal.csv")
OTHERS = ("config.yaml", "environment.json", "per_image.npz", "pictures.npz", "train.log")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run folder with every kind of file."""
    folder = training.run(settings(tmp_path_factory.mktemp("outputs"))).folder
    evaluate(folder, k=[2, 3], limit=20)
    active_units(folder, samples=2, check=True, k=3)
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for damaged files."""
    return tmp_path_factory.mktemp("damaged")


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Return a change of some bytes: flipped, lost, added, doubled, overwritten or cut off."""
    kind = draw(st.sampled_from(["flip", "lose", "add", "double", "zero", "cut", "swap", "empty"]))
    where, length = draw(st.floats(0, 1)), draw(st.integers(1, 40))
    noise, bit = draw(st.binary(min_size=1, max_size=20)), draw(st.integers(0, 7))

    def damaged(content: bytes) -> bytes:
        at = min(int(where * len(content)), len(content) - 1)
        before, part, after = content[:at], content[at : at + length], content[at + length :]
        if kind == "flip":
            return before + bytes([content[at] ^ (1 << bit)]) + content[at + 1 :]
        return {
            "lose": before + after,
            "add": before + noise + content[at:],
            "double": before + part + part + after,
            "zero": before + bytes(len(part)) + after,
            "cut": before,
            "swap": after + before,
            "empty": b"",
        }[kind]

    return damaged


def read_or_refused(read: Callable[[], Result], *errors: type[Exception]) -> Result | None:
    """Return what is read; None if it is refused, which has to be in one line."""
    try:
        return read()
    except errors as error:
        said = str(error)
    assert said.strip()
    assert IwaeError not in errors[0].__mro__ or "\n" not in said
    return None


@many
@given(damage=damages())
def test_a_damaged_checkpoint_is_refused_or_the_same(
    run: Path, place: Path, damage: Callable[[bytes], bytes]
) -> None:
    whole, file = run / "checkpoint.pt", place / "checkpoint.pt"
    file.write_bytes(damage(whole.read_bytes()))
    found = read_or_refused(lambda: Checkpoint.read(file), CheckpointError)
    if found is None:
        return
    true = Checkpoint.read(whole)
    assert found.parameters_digest == true.parameters_digest
    assert (found.identity, found.config) == (true.identity, true.config)
    assert str(found.training) == str(true.training)
    assert str(found.optimizer) == str(true.optimizer)


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(-3, 3), max_size=3),
    st.dictionaries(st.one_of(st.text(max_size=3), st.integers()), st.none(), max_size=2),
    st.sampled_from(
        [torch.zeros(0), torch.zeros(3), torch.full((2, 2), torch.nan), torch.zeros(1).expand(9)]
    ),
)


def paths(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:  # noqa: ANN401  (any content)
    """Return where the values of a checkpoint's content are."""
    own = [path] if path else []
    if isinstance(node, dict):
        return own + [p for key, value in node.items() for p in paths(value, (*path, key))]
    if isinstance(node, list):
        return own + [p for n, value in enumerate(node) for p in paths(value, (*path, n))]
    return own


@many
@given(choice=st.integers(0, 10**6), value=ODD)
def test_a_checkpoint_with_an_odd_value_is_refused_or_gives_a_model(
    run: Path, place: Path, choice: int, value: object
) -> None:
    content = read_content(run / "checkpoint.pt")
    places = paths(content)
    *above, last = places[choice % len(places)]
    node = content
    for key in above:
        node = node[key]
    node[last] = value
    file = place / "odd.pt"
    torch.save(content, file)
    found = read_or_refused(lambda: Checkpoint.read(file), CheckpointError)
    assert found is None or found.network().latents == (4, 3)


@many
@given(damage=damages())
def test_a_checkpoint_whose_pickle_was_made_by_hand_is_refused_or_gives_a_model(
    run: Path, place: Path, damage: Callable[[bytes], bytes]
) -> None:
    """The checksums of the zip are right, so that torch's reader meets the damage."""
    file = place / "pickle.pt"
    with zipfile.ZipFile(run / "checkpoint.pt") as whole, zipfile.ZipFile(file, "w") as made:
        for member in whole.infolist():
            content = whole.read(member)
            made.writestr(
                member.filename, damage(content) if member.filename.endswith(".pkl") else content
            )
    found = read_or_refused(lambda: Checkpoint.read(file), CheckpointError)
    assert found is None or found.network().latents == (4, 3)


@many
@given(name=st.sampled_from(TABLES), damage=damages())
def test_a_damaged_table_loses_rows_with_a_word_or_is_the_same(
    run: Path, name: str, damage: Callable[[bytes], bytes]
) -> None:
    whole = (run / name).read_bytes()
    true = parsed(whole).table
    result = read_or_refused(lambda: parsed(damage(whole)), ValueError, csv.Error)
    if result is None:
        return
    found, fault = result
    # a changed name in the header: only rows with nothing in that column have the same checksum
    common = [name for name in found.columns if name in true.columns]
    assert bool(found.drop(columns=common).isna().all(axis=None))
    true, found = true[common], found[common]
    texts = [tuple(map(str, row)) for row in true.to_numpy().tolist()]
    rows = [tuple(map(str, row)) for row in found.to_numpy().tolist()]
    assert set(rows) <= set(texts)
    if len(rows) < len(texts) and not fault:
        # whole rows are gone: with what is left the table says less, and nothing that is wrong
        assert rows == [row for row in texts if row in set(rows)]


@many
@given(damage=damages())
def test_a_damaged_environment_or_config_is_noticed_or_the_same(
    run: Path, place: Path, damage: Callable[[bytes], bytes]
) -> None:
    environment = read_environment(run / "environment.json")
    file = place / "environment.json"
    file.write_bytes(damage((run / "environment.json").read_bytes()))
    assert read_or_refused(lambda: read_environment(file), ValueError) in (None, environment)
    file = place / "config.yaml"
    file.write_bytes(damage((run / "config.yaml").read_bytes()))
    found = read_or_refused(lambda: read_config(file), ValueError)
    if found is None:
        return
    true = read_config(run / "config.yaml")
    same = config_digest(found) == environment["config"]
    telling = ("k", "seed", "objective", "optimizer", "precision", "init_from")
    assert not same or all(found[key] == true[key] for key in telling)


@many
@given(name=st.sampled_from(["per_image.npz", "pictures.npz"]), damage=damages())
def test_damaged_arrays_are_noticed_or_the_same(
    run: Path, place: Path, name: str, damage: Callable[[bytes], bytes]
) -> None:
    file = place / name
    file.write_bytes(damage((run / name).read_bytes()))
    found = read_or_refused(lambda: read_arrays(file), ValueError)
    if found is None:
        return
    true = read_arrays(run / name)
    assert found.keys() <= true.keys()
    for key, array in found.items():
        np.testing.assert_array_equal(array, true[key])


@many
@given(name=st.sampled_from([*TABLES, *OTHERS]), damage=damages())
def test_a_damaged_run_is_read_or_named_and_takes_no_other_with_it(
    run: Path, place: Path, name: str, damage: Callable[[bytes], bytes]
) -> None:
    top = place / "runs"
    if not top.exists():
        for copied in ("sound", "damaged"):
            shutil.copytree(run, top / copied)
    (top / "damaged" / name).write_bytes(damage((run / name).read_bytes()))
    reader = RunReader()
    names = [record.name for record in reader.runs(top)]
    assert "sound" in names
    assert all(left_out.path.parent.name == "damaged" for left_out in reader.unreadable)
    assert all("\n" not in left_out.reason for left_out in reader.unreadable)
    assert "damaged" in names or reader.unreadable
    (top / "damaged" / name).write_bytes((run / name).read_bytes())


@pytest.mark.parametrize("value", [torch.zeros(0), torch.zeros(3), "1", None])
def test_a_checkpoint_whose_format_is_no_number_is_of_another_version(
    run: Path, place: Path, value: object
) -> None:
    file = place / "odd.pt"
    torch.save({**read_content(run / "checkpoint.pt"), "format": value}, file)
    with pytest.raises(CheckpointError, match="format unknown"):
        Checkpoint.read(file)


def test_an_array_whose_header_is_cut_is_damaged(place: Path) -> None:
    """Numpy takes it for one of Python 2 then, and has a tokenizer of its own for those."""
    header = b"{'descr': (1L,\n"
    with zipfile.ZipFile(place / "cut.npz", "w") as made:
        npy = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
        made.writestr("a.npy", npy)
    with pytest.raises(ValueError, match="damaged"):
        read_arrays(place / "cut.npz")


def test_damages_in_a_row_of_random_files_end_a_command_in_one_line(
    run: Path, tmp_path: Path
) -> None:
    chance, true = random.Random(0), evaluate(run, k=[3], limit=20)[0]["nll"]
    for trial in range(12):
        copied = Path(shutil.copytree(run, tmp_path / f"{trial}" / run.name))
        file = copied / chance.choice(["eval.csv", "per_image.npz", "checkpoint.pt"])
        content = bytearray(file.read_bytes())
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        file.write_bytes(bytes(content))
        rows = read_or_refused(partial(evaluate, copied, k=[3], limit=20), IwaeError)
        assert rows is None or rows[0]["nll"] == true
