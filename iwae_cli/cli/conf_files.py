"""The YAML files that `iwae train` composes its configs of."""

from pathlib import Path


def conf_folder() -> Path:
    """Return the folder of the YAML files: in the package in a wheel, else in the checkout."""
    package = Path(__file__).resolve().parents[1]
    return next(conf for conf in (package / "conf", package.parent / "conf") if conf.is_dir())


def groups() -> list[str]:
    """Return the names of the config groups."""
    return sorted(folder.name for folder in conf_folder().iterdir() if folder.is_dir())


def choices(group: str) -> list[str]:
    """Return the names of a config group's files; none of what is no group."""
    return sorted(path.stem for path in (conf_folder() / group).glob("*.yaml"))
