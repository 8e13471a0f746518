"""The only file that knows Hydra: it composes configurations, and its errors become ours."""

import difflib
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import env_override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.plugins.completion_plugin import DefaultCompletionPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from iwae_cli.core.config import unknown
from iwae_cli.core.errors import ConfigError

VERSION_BASE = "1.3"


def conf_folder() -> Path:
    """Return the folder of the YAML files: in the package in a wheel, else in the checkout."""
    package = Path(__file__).resolve().parents[1]
    return next(conf for conf in (package / "conf", package.parent / "conf") if conf.is_dir())


def each_point(
    task: Callable[[str, DictConfig], None],
    overrides: Sequence[str],
    *,
    multirun: bool = False,
    config_dir: str | None = None,
) -> bool:
    """Call `task(name, values)` for each run that the overrides ask for; each is composed once.

    A run's name is its overrides as they were typed. Returns whether the runs are a sweep: with
    `multirun`, or where the composed `hydra.mode` says so.

    Raises:
        ConfigError: What Hydra cannot compose.
    """
    folders = [f"file://{Path(config_dir).resolve()}"] if config_dir else []
    search = [f"hydra.searchpath={folders}"] if folders else []
    with (
        errors_of_hydra(overrides),
        hydra.initialize_config_dir(str(conf_folder()), version_base=VERSION_BASE),
    ):
        given = OverridesParser.create().parse_overrides(list(overrides))
        first = [next(iter(words_of(override))) for override in given]
        values = hydra.compose("config", [*search, *first], return_hydra_config=True)
        if not (multirun or values.hydra.mode == RunMode.MULTIRUN):
            if several := [one.input_line for one in given if one.is_sweep_override()]:
                raise ConfigError(
                    f"'{several[0]}' has several values: add -m to sweep over them, or write "
                    "key=[a,b]"
                )
            with open_dict(values):
                del values["hydra"]
            task(name_of(overrides), values)
            return False
        inside = [f"{key}={value}" for key, value in (values.hydra.sweeper.params or {}).items()]
        given = OverridesParser.create().parse_overrides([*inside, *overrides])
        choices = {override.get_key_element(): words_of(override) for override in given}
        for words in product(*choices.values()):
            task(name_of(words), hydra.compose("config", [*search, *words]))
    return True


def words_of(override: Override) -> list[str]:
    """Return an override, or each of those that a sweep over its values stands for."""
    if not override.is_sweep_override():
        return [str(override.input_line)]
    if not override.is_discrete_sweep():
        raise ConfigError(f"'{override.input_line}' has no end: name the values, as in k=1,5")
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def name_of(words: Sequence[str]) -> str:
    """Return overrides as the name of a run, without those that are for Hydra itself."""
    return " ".join(word for word in words if not word.lstrip("+~").startswith("hydra"))


@contextmanager
def errors_of_hydra(overrides: Sequence[str]) -> Iterator[None]:
    """Make Hydra's errors in the block ConfigErrors of one line."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_explain(error, overrides)) from None


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
    more = [f"--cfg={cfg}"] * bool(cfg) + ["--resolve"] * resolve + [f"--info={info}"] * bool(info)
    more += [f"--config-dir={config_dir}"] * bool(config_dir)
    main = hydra.main(
        version_base=VERSION_BASE, config_path=str(conf_folder()), config_name="config"
    )(lambda _: None)
    argv, sys.argv = sys.argv, ["iwae", *more, "--", *overrides]
    try:
        with errors_of_hydra(overrides), env_override({"HYDRA_FULL_ERROR": "1"}):
            main()  # and let the original exceptions through
    finally:
        sys.argv = argv


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
        return unknown(group, name, error.options)
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} must be given: add {error.full_key}=..."
    text = str(error) or str(error.__cause__)
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
