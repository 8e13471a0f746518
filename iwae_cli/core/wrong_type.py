"""The message for a value of a wrong type."""

import dataclasses
from collections.abc import Mapping
from dataclasses import field
from typing import Any, get_type_hints

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

TYPES = {  # as messages call them
    "<class 'int'>": "a whole number",
    "int | None": "a whole number or null",
    "<class 'float'>": "a number",
    "float | None": "a number or null",
    "<class 'bool'>": "true or false",
    "<class 'str'>": "a text",
    "str | None": "a text or null",
    "list[str]": "a list of texts such as ['module load cuda']",
    "list[int]": "a list of whole numbers such as [5]",
    "list[list[int]]": "a list of lists of whole numbers such as [[200,200]]",
    "dict[str, typing.Any] | None": "null or the keys that differ, such as {k: 1}",
}


def wrong_type(cls: type, values: Mapping[str, Any], where: str = "") -> str:
    """Return the message for the first of `values` that its field's type does not admit.

    Args:
        cls: The dataclass.
        values: Its keyword arguments.
        where: The config node they come from, empty for the top level.
    """
    types = get_type_hints(cls)
    for key, value in values.items():
        field_alone = dataclasses.make_dataclass(
            cls.__name__, [(key, types[key], field(default=MISSING))]
        )
        try:
            OmegaConf.merge(OmegaConf.structured(field_alone), {key: value})
        except OmegaConfBaseException:
            allowed = TYPES.get(str(types[key]), types[key])
            dotted = f"{where}.{key}" if where else key
            return f"{key} must be {allowed}, got {value!r}{instead(dotted, value, str(allowed))}"
    return f"cannot be read: {dict(values)!r}"


def instead(key: str, value: object, allowed: str) -> str:
    """Return what to write in place of a value of a wrong type, where that can be told."""
    if isinstance(value, list) and "list" not in allowed and value:
        return f"; to sweep: -m {key}={','.join(map(str, value))}"
    if isinstance(value, float) and value.is_integer() and "whole number" in allowed:
        return f"; write {key}={value:.0f}"
    return ""
