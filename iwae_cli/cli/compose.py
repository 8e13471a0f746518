"""The only file that knows Hydra: it composes configurations, and its errors become ours."""

import difflib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import env_override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.plugins.completion_plugin import DefaultCompletionPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from iwae_cli.core.config import unknown
from iwae_cli.core.errors import ConfigError

VERSION_BASE = "1.3"
# Launchers that come with an extra of the same name
EXTRAS = ("joblib",)


@dataclass(frozen=True)
class Job:
    """The run that Hydra has called a task for.

    Attributes:
        name: Its overrides, as they were typed.
        sweep: Whether it is one of a sweep.
        number: Its place in the sweep, from 0.
        folder: Where it may leave files.
    """

    name: str
    sweep: bool
    number: int
    folder: Path


def job() -> Job:
    """Return the run at hand; to be called from within a task alone."""
    here = HydraConfig.get()
    sweep = here.mode == RunMode.MULTIRUN
    task = OmegaConf.to_container(here.overrides.task, resolve=False)
    return Job(
        name=" ".join(cast(list[str], task)),
        sweep=sweep,
        number=here.job.num if sweep else 0,
        folder=Path(here.runtime.output_dir),
    )


def conf_folder() -> Path:
    """Return the folder of the YAML files: in the package in a wheel, else in the checkout."""
    package = Path(__file__).resolve().parents[1]
    return next(conf for conf in (package / "conf", package.parent / "conf") if conf.is_dir())


def hydra_main(
    task: Callable[[DictConfig], None],
    overrides: Sequence[str],
    *flags: str,
    multirun: bool = False,
    config_dir: str | None = None,
) -> None:
    """Call `task` through `hydra.main`, once for each point; Hydra's errors become ConfigErrors."""
    main = hydra.main(
        version_base=VERSION_BASE, config_path=str(conf_folder()), config_name="config"
    )(task)
    more = ["--multirun"] * multirun + [f"--config-dir={config_dir}"] * bool(config_dir)
    argv, sys.argv = sys.argv, ["iwae", *flags, *more, "--", *overrides]
    try:
        with env_override({"HYDRA_FULL_ERROR": "1"}):  # let the original exceptions through
            main()
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_explain(error, overrides)) from None
    finally:
        sys.argv = argv


def plain(values: DictConfig) -> Mapping[str, Any]:
    """Return a composed configuration as plain types, interpolations resolved."""
    try:
        container = OmegaConf.to_container(values, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(_explain(error, [])) from None
    return cast(Mapping[str, Any], container)


def show(
    overrides: Sequence[str],
    *,
    cfg: str | None = None,
    resolve: bool = False,
    info: str | None = None,
    config_dir: str | None = None,
) -> None:
    """Print the composed configuration (`cfg`) or what Hydra knows (`info`) to stdout."""
    flags = [f"--cfg={cfg}"] * bool(cfg) + ["--resolve"] * resolve + [f"--info={info}"] * bool(info)
    hydra_main(lambda _: None, overrides, *flags, config_dir=config_dir)


def completions(words: Sequence[str], incomplete: str) -> list[str]:
    """Return the overrides that complete `incomplete` after the overrides `words`."""
    line = " ".join(["--multirun", *words, incomplete])
    try:
        with hydra.initialize_config_dir(str(conf_folder()), version_base=VERSION_BASE):
            plugin = DefaultCompletionPlugin(GlobalHydra.instance().config_loader())
            found = plugin._query(config_name="config", line=line)
    except HydraException:  # an earlier word is not an override that exists
        return []
    ours = not incomplete.startswith("hydra")
    return [text for text in found if not (ours and text.startswith("hydra"))]


def _explain(error: Exception, overrides: Sequence[str]) -> str:
    """Return what a user can do about an error of Hydra's, in one line."""
    if isinstance(error, OverrideParseException):
        return f"cannot read '{error.override}': write key=value, and quote special characters"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = error.missing_cfg_file.rpartition("/")
        if group == "hydra/launcher" and name in EXTRAS:
            return f"hydra/launcher={name} is not installed: pip install 'iwae-cli[{name}]'"
        return unknown(group, name, error.options)
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} must be given: add {error.full_key}=..."
    text = str(error) or str(error.__cause__)
    if match := re.match(r"Ambiguous value for argument '(.+)'", text):
        return f"'{match[1]}' has several values: add -m to sweep over them, or write key=[a,b]"
    if match := re.match(r"Could not override '([^']+)'", text):
        nearest = _nearest(match[1], overrides)
        hint = f"did you mean '{nearest}'? " if nearest else ""
        return f"unknown key '{match[1]}': {hint}'iwae train --cfg job' shows all keys"
    return " ".join(text.split())


def _nearest(key: str, overrides: Sequence[str]) -> str | None:
    """Return the known key, dotted where nested, that looks most like `key`."""
    keys = [folder.name for folder in conf_folder().iterdir() if folder.is_dir()]
    chosen = [text for text in overrides if text.partition("=")[0] in keys and "," not in text]
    with hydra.initialize_config_dir(str(conf_folder()), version_base=VERSION_BASE):
        values = cast(dict[str, Any], hydra.compose("config", overrides=chosen))
    for name, node in values.items():
        keys += [name, *(f"{name}.{leaf}" for leaf in (node if isinstance(node, Mapping) else ()))]
    known = {name.rpartition(".")[2]: name for name in reversed(keys)} | {k: k for k in keys}
    matches = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return known[matches[0]] if matches else None
