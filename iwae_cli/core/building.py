"""A dataclass made of a mapping, such as a node of a YAML, with its types checked."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from iwae_cli.core.errors import ConfigError, unknown
from iwae_cli.core.wrong_type import wrong_type

T = TypeVar("T")


@dataclass(frozen=True)
class _Given:
    """Arguments of `cls`, equal where their texts are, so that 1, 1.0 and True differ."""

    cls: Any  # a dataclass
    where: str
    text: str
    folder: Path  # from which relative paths count
    values: Mapping[str, Any] = field(compare=False)


def build(cls: type[T], values: Mapping[str, Any], *, where: str = "") -> T:
    """Return a `cls` made of `values`, converted to the types of its fields.

    The same values give the same object: sweeps have few arrangements of many points.

    Args:
        cls: A frozen dataclass whose `__post_init__` raises ValueError on values out of range.
        values: Its keyword arguments.
        where: The config node they come from, for messages; empty for the top level.

    Raises:
        ConfigError: An unknown key (with the nearest name), a wrong type, a value out of range.
    """
    result = _built(_Given(cls, where, repr(values), Path.cwd(), values))
    assert isinstance(result, cls)
    return result


@lru_cache(maxsize=256)
def _built(given: _Given) -> object:
    cls, values, where = given.cls, given.values, given.where
    schema, hints = _fields(cls)
    prefix = f"{where}: " if where else ""
    for key in values:
        if key not in hints:
            raise ConfigError(prefix + unknown("key", key, hints))
    for key, kind in hints.items():
        if kind in (str, str | None) and isinstance(values.get(key), int | float):
            raise ConfigError(
                f"{prefix}{key} must be a text, got the number {values[key]!r}: quote it in YAML"
            )
    try:
        result = OmegaConf.to_object(OmegaConf.merge(schema, dict(values)))
    except OmegaConfBaseException:
        raise ConfigError(prefix + wrong_type(cls, values, where)) from None
    except ValueError as error:
        raise ConfigError(prefix + str(error)) from None
    return result


@lru_cache
def _fields(cls: Any) -> tuple[DictConfig, dict[str, Any]]:  # noqa: ANN401  (a dataclass)
    """Return the schema of a dataclass, and the types of its fields by name."""
    hints = get_type_hints(cls)
    schema = OmegaConf.structured(cls)
    OmegaConf.set_readonly(schema, False)
    return schema, {f.name: hints[f.name] for f in dataclasses.fields(cls)}
