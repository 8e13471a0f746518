"""Profiles: several sweeps under one name, as `iwae train profile=fast` asks for them."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from iwae_cli.cli.conf_files import conf_folder
from iwae_cli.cli.own_yaml import read as read_yaml
from iwae_cli.core.errors import ConfigError, unknown

KEY = "profile"
NODES = ("every", "sweeps")


def sweeps_of(overrides: Sequence[str], *, config_dir: str | None = None) -> list[list[str]]:
    """Return the overrides of each sweep that a command line asks for, in order.

    Without `profile=NAME` the overrides are those of one sweep. With it there is one for each
    entry of `sweeps` in conf/profile/NAME.yaml: the overrides in `every`, those of the entry, and
    the others on the command line. Of two for one key the later one counts.

    Args:
        overrides: Of the command line.
        config_dir: The user's own folder of YAML files, searched first.

    Raises:
        ConfigError: There is no such profile, or its file cannot be read.
    """
    named = [text for text in overrides if key_of(text) == KEY]
    if not named:
        return [list(overrides)]
    if len(named) > 1:
        raise ConfigError(f"only one profile can be given, got {' '.join(named)}")
    profile = read(named[0].partition("=")[2], config_dir=config_dir)
    given = [text for text in overrides if text not in named]
    return [
        last_of_each_key([*shlex.split(profile["every"]), *shlex.split(sweep), *given])
        for sweep in profile["sweeps"]
    ]


def read(name: str, *, config_dir: str | None) -> dict[str, Any]:
    """Return the nodes `every` and `sweeps` of a profile."""
    folders = [Path(top) / KEY for top in (config_dir, conf_folder()) if top]
    files = {file.stem: file for folder in reversed(folders) for file in folder.glob("*.yaml")}
    if name not in files:
        raise ConfigError(unknown(KEY, name, files))
    content = read_yaml(files[name], resolve=True)
    whole = content.keys() == set(NODES) and isinstance(content["every"], str)
    if not whole or not is_list_of_texts(content["sweeps"]):
        raise ConfigError(
            f"{files[name]}: needs two keys alone: every, a text, and sweeps, a list of texts"
        )
    return dict(content)


def is_list_of_texts(value: object) -> bool:
    """Whether a value is a list of texts."""
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def key_of(override: str) -> str:
    """Return the key that an override sets, such as `k` or `optimizer.passes`."""
    return override.lstrip("+~").partition("=")[0]


def last_of_each_key(overrides: Sequence[str]) -> list[str]:
    """Return overrides without those whose key a later one sets."""
    return list({key_of(text): text for text in overrides}.values())
