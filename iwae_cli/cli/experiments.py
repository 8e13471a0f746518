"""Experiments of the user's own that are whole configurations: a run's config.yaml, say."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from iwae_cli.cli import explain
from iwae_cli.core.errors import ConfigError

KEY = "experiment"
# Groups whose nodes differ in keys: the one of the same name has to be chosen before its keys are
# set, or those of the default stay beside them
CHOSEN = ("dataset", "objective", "optimizer", "likelihood", "launcher")


def expanded(
    overrides: Sequence[str], *, config_dir: str | None, folders: Sequence[Path]
) -> list[str]:
    """Return overrides that compose an own experiment file which is a whole configuration.

    Such a file is what `iwae train --cfg job` prints, or the config.yaml of a run. It has no line
    `# @package _global_`, and no defaults that choose its data, objective and optimiser.

    Args:
        overrides: With `experiment=NAME` among them, or without.
        config_dir: The user's own folder of YAML files.
        folders: All folders of YAML files.

    Raises:
        ConfigError: The file is no YAML.
    """
    named = [word for word in overrides if word.startswith(f"{KEY}=")]
    file = Path(config_dir or "", KEY, f"{named[-1].partition('=')[2]}.yaml") if named else None
    if not (config_dir and file and file.exists()):
        return list(overrides)
    content = read(file)
    typed = {word.partition("=")[0] for word in overrides}
    has_defaults = "defaults" in content
    added = []
    for group in CHOSEN:
        node = content.get(group)
        name = node.get("name") if isinstance(node, Mapping) else None
        known = any((folder / group / f"{name}.yaml").exists() for folder in folders)
        if known and group not in typed and not has_defaults:
            added.append(f"{group}={name}")
    global_ = any(line.startswith("# @package") for line in file.read_text().splitlines())
    top = [] if global_ else [f"+{KEY}@_global_={file.stem}"]
    return [*added, *top, *(word for word in overrides if global_ or word not in named)]


def read(file: Path) -> Mapping[str, Any]:
    """Return the content of a YAML file, nothing where it is no mapping."""
    try:
        content = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    except YAMLError as error:
        raise ConfigError(explain.of_yaml(error)) from None
    except OmegaConfBaseException as error:
        raise ConfigError(f"{file}: {' '.join(str(error).split())}") from None
    return {str(key): value for key, value in content.items()} if isinstance(content, dict) else {}
