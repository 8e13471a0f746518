"""YAML files of the user's own: a small one must not stand for a huge one."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from iwae_cli.cli import explain
from iwae_cli.core.errors import ConfigError

LARGEST_BYTES = 1_000_000
# Values, counted as often as aliases repeat them
MOST_VALUES = 100_000


@contextmanager
def stumbling(*known: type[Exception]) -> Iterator[None]:
    """Make of what Hydra does not catch itself, when it reads files in the block, a ConfigError.

    Args:
        known: What it tells of itself.
    """
    try:
        yield
    except OmegaConfBaseException:
        raise
    except RecursionError:
        raise ConfigError(
            "a YAML file of your own is nested too deeply, or its defaults name the file itself"
        ) from None
    except (ValueError, TypeError, KeyError, AssertionError, OSError) as error:
        if isinstance(error, known):
            raise
        why = " ".join(str(error).split())
        raise ConfigError(f"a YAML file of your own cannot be read: {why}") from None


def read(file: Path, *, resolve: bool = False) -> Mapping[str, Any]:
    """Return the content of a YAML file, nothing where it is no mapping.

    Args:
        file: Its path.
        resolve: Put the values of interpolations in.

    Raises:
        ConfigError: It is no YAML, or too large.
    """
    check_size(file)
    try:
        content = OmegaConf.to_container(OmegaConf.load(file), resolve=resolve)
    except YAMLError as error:
        raise ConfigError(explain.of_yaml(error)) from None
    except (OmegaConfBaseException, ValueError, OSError) as error:
        raise ConfigError(f"{file}: {' '.join(str(error).split())}") from None
    return {str(key): value for key, value in content.items()} if isinstance(content, dict) else {}


def check_folder(folder: Path, groups: Collection[str]) -> None:
    """Check a folder of the user's, and the size of each file of a config group in it.

    Raises:
        ConfigError: A file is too large, or there is a config.yaml, read in place of ours.
    """
    if (folder / "config.yaml").exists():
        raise ConfigError(
            f"{folder / 'config.yaml'}: a whole config of your own is an experiment; put it at "
            f"{folder / 'experiment' / 'NAME.yaml'} and add experiment=NAME"
        )
    for group in groups:
        for file in sorted((folder / group).glob("*.yaml")):
            check_size(file)


def check_size(file: Path) -> None:
    """Raise ConfigError where a YAML file is too large, or is by its aliases.

    Raises:
        ConfigError: It is.
    """
    try:
        small = file.stat().st_size <= LARGEST_BYTES
        small = small and values_of(yaml.compose(file.read_bytes(), yaml.SafeLoader), {}) > 0
    except (OSError, YAMLError, ValueError):  # told when it is read
        return
    except RecursionError:
        small = False
    if not small:
        raise ConfigError(
            f"{file} is too large or too deeply nested for a config (an alias, *name, counts as "
            "often as it is used)"
        )


def values_of(node: yaml.Node | None, known: dict[int, int]) -> int:
    """Return the number of values in and below a node, 0 for more than `MOST_VALUES`.

    Args:
        node: Of a YAML document.
        known: Those of other nodes by their ids; a node that is being counted has -1.

    Raises:
        RecursionError: It is nested too deeply, or within itself.
    """
    if known.get(id(node)) == -1:
        raise RecursionError
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = -1
    inner: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        inner = node.value
    elif isinstance(node, yaml.MappingNode):
        inner = [part for pair in node.value for part in pair]
    counts = [values_of(part, known) for part in inner]
    total = 1 + sum(counts)
    known[id(node)] = total if total <= MOST_VALUES and all(counts) else 0
    return known[id(node)]
