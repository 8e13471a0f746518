"""config.yaml: what a run was asked to be. What it is stands in its checkpoint."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from iwae_cli.core.atomic_write import write_atomically
from iwae_cli.core.config import BERNOULLI, Config

LARGEST_BYTES = 100_000
# What does not tell runs apart, or is told by the hash of the data
ELSEWHERE = {f.name for f in fields(Config) if f.metadata.get("identity") is False} - {
    "init_from",
    "likelihood",
}

UNTOLD = {("arch", "name")}
# Keys that earlier versions did not write, at their defaults
LATER = [("arch", "activation", "tanh"), ("arch", "encoder", "dense")]


def read_config(path: Path) -> dict[str, Any]:
    """Return the content of a config.yaml as plain types.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no such file.
    """
    with path.open("rb") as file:
        content = file.read(LARGEST_BYTES + 1)
    if len(content) > LARGEST_BYTES:
        raise ValueError("too large for a config")
    try:
        text = content.decode()
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            # by which a small file can stand for a huge one
            raise ValueError("it has aliases (*name), which no config of a run has")
        config: Any = OmegaConf.to_container(OmegaConf.create(text), throw_on_missing=True)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except Exception as error:  # of OmegaConf, which has many kinds
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from None
    if not isinstance(config, dict):
        raise ValueError("no mapping of keys")
    return {str(key): value for key, value in config.items()}


def write_config(path: Path, config: Mapping[str, Any]) -> None:
    """Write a config.yaml."""
    write_atomically(path, OmegaConf.to_yaml(OmegaConf.create(dict(config))).encode())


def telling(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a config that tell what its run is, dotted, with values as JSON."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if key in ELSEWHERE or (key == "likelihood" and value == BERNOULLI):
            continue
        if key == "init_from" and isinstance(value, Mapping):
            found |= {f"init_from.{name}": one for name, one in telling(value).items()}
        elif key == "dataset" and isinstance(value, Mapping):
            found["dataset.name"] = as_json(value.get("name"))
        elif isinstance(value, Mapping):
            found |= {
                f"{key}.{n}": as_json(v)
                for n, v in value.items()
                if (key, n) not in UNTOLD and (key, n, v) not in LATER
            }
        else:
            found[key] = as_json(value)
    return found


def as_json(value: object) -> str:
    """Return a plain value as text."""
    return json.dumps(value, sort_keys=True, default=str)


def config_digest(config: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what tells a run, in hex, which environment.json keeps."""
    return hashlib.sha256(json.dumps(telling(config), sort_keys=True).encode()).hexdigest()


def differences(found: Mapping[str, Any], true: Mapping[str, Any]) -> list[str]:
    """Return the keys in which a config differs from the true one, as `k 50 -> 3`."""
    one, other = telling(found), telling(true)
    keys = sorted({*one, *other})
    return [f"{k} {one.get(k)} -> {other.get(k)}" for k in keys if one.get(k) != other.get(k)]
