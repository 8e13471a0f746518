"""Experiments of the user's own that are whole configurations: a run's config.yaml, say."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from iwae_cli.cli.own_yaml import read

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
    name = named[-1].partition("=")[2].strip("'") if named else ""
    file = Path(config_dir or "", KEY, f"{name}.yaml") if named else None
    if not (config_dir and file and file.exists()):
        return list(overrides)
    content = read(file)
    typed = {word.partition("=")[0] for word in overrides}
    has_defaults = "defaults" in content
    added = []
    for group in CHOSEN:
        node = content.get(group)
        chosen = node.get("name") if isinstance(node, Mapping) else None
        known = any((folder / group / f"{chosen}.yaml").exists() for folder in folders)
        if known and group not in typed and not has_defaults:
            added.append(f"{group}={chosen}")
    global_ = any(line.startswith("# @package") for line in file.read_text().splitlines())
    top = [] if global_ else [f"+{KEY}@_global_='{name}'"]
    return [*added, *top, *(word for word in overrides if global_ or word not in named)]
