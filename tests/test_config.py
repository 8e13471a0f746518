import dataclasses
from dataclasses import dataclass, field

import pytest

from iwae_cli.core import config
from iwae_cli.core.errors import ConfigError
from iwae_cli.core.identity import identity, identity_fields

NODES = {node: {"name": "x"} for node in ("dataset", "objective", "optimizer")}


def test_parse_gives_plain_dataclasses_with_converted_types() -> None:
    parsed = config.parse({**NODES, "k": 5, "checkpoint_seconds": 3, "arch": {"latents": [7]}})
    assert parsed.k == 5
    assert isinstance(parsed.checkpoint_seconds, float)
    assert parsed.arch.latents == [7]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"k": -1}, "k must be at least 1, got -1"),
        ({"k": "many"}, "k must be a whole number, got 'many'"),
        ({"k": None}, "k must be a whole number, got None"),
        (
            {"then": {"eval": 5000}},
            "then: eval must be a list of whole numbers such as [5], got 5000",
        ),
        ({"arch": {"hidden": [8]}}, "hidden must be a list of lists"),
        ({"init_from": "x"}, "init_from must be null or the keys that differ"),
        ({"threads": "all"}, "threads must be a whole number or null, got 'all'"),
        ({"seeed": 1}, "unknown key 'seeed': did you mean 'seed'?"),
        ({"seed": -1}, "seed must be in"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"precision": "float16"}, "unknown precision 'float16'"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"arch": {"latents": []}}, "at least one stochastic layer"),
        ({"arch": {"latents": [5, 5]}}, "one list of widths for each of the 2"),
        ({"arch": {"latents": [0]}}, "all sizes must be at least 1"),
        ({"arch": {"init": "glorott"}}, "did you mean 'glorot'?"),
        ({"dataset": "mnist"}, "dataset: needs a name"),
    ],
)
def test_a_fault_is_named_with_what_is_allowed(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse({**NODES, **values})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_faults_are_reported_together() -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse({**NODES, "k": 0, "arch": {"latent": [3]}, "objective": None})
    for part in ("k must be", "unknown key 'latent'", "objective: needs a name"):
        assert part in str(caught.value)


def test_identity_leaves_out_where_and_how_fast_and_keeps_all_else() -> None:
    fields = set(identity_fields(config.Config()))
    assert fields == {"arch", "dataset", "objective", "optimizer", "k", "seed", "precision"}
    assert "name" not in identity_fields(config.Arch())


def test_a_key_added_later_joins_the_identity_only_where_it_is_set() -> None:
    @dataclass(frozen=True)
    class Node:
        old: int = 1
        added: int = field(default=0, metadata={"identity": "if set"})

    assert identity_fields(Node()) == {"old": 1}
    assert identity_fields(dataclasses.replace(Node(), added=2)) == {"old": 1, "added": 2}


def test_identity_does_not_depend_on_the_order_of_keys() -> None:
    assert identity({"a": 1, "b": [2]}) == identity({"b": [2], "a": 1})
    assert identity({"a": 1, "b": [2]}) != identity({"a": 1, "b": [3]})
