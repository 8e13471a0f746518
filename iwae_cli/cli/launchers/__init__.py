"""Where the runs of a sweep are carried out: `launcher=NAME`, one file each."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from iwae_cli.cli.launchers.base import Launcher
from iwae_cli.core.building import build
from iwae_cli.core.errors import ConfigError, unknown

LAUNCHERS = ("local", "joblib", "slurm", "ray")


def find(values: Mapping[str, Any]) -> Launcher:
    """Return the launcher of a config node, `name` and its options; nothing is started.

    Raises:
        ConfigError: An unknown name or option, a wrong type, a value out of range.
    """
    name = values.get("name")
    if name not in LAUNCHERS:
        raise ConfigError(unknown("launcher", name, LAUNCHERS))
    cls: type[Launcher] = import_module(f"iwae_cli.cli.launchers.{name}").LAUNCHER
    return build(cls, values, where="launcher")
