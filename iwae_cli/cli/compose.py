"""The only file that knows Hydra: it composes configurations, and its errors become ours."""

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import compress, product
from pathlib import Path
from typing import Any, ClassVar, cast

import hydra
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import env_override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.plugins.completion_plugin import DefaultCompletionPlugin
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from yaml import YAMLError

from iwae_cli.cli import experiments, explain
from iwae_cli.cli.conf_files import choices, conf_folder, groups
from iwae_cli.cli.overrides import checked
from iwae_cli.cli.own_yaml import check_folder, stumbling
from iwae_cli.cli.points import Composer, name_of
from iwae_cli.core.errors import ConfigError, unknown

VERSION_BASE = "1.3"


def each_point(
    task: Callable[[str, DictConfig], None],
    overrides: Sequence[str],
    *,
    multirun: bool = False,
    config_dir: str | None = None,
) -> bool:
    """Call `task(name, values)` for each run that the overrides ask for; each is composed once.

    A run's name is its overrides as they were typed, in a sweep those that vary. Returns whether
    the runs are a sweep: with `multirun`, or where the composed `hydra.mode` says so.

    Raises:
        ConfigError: What Hydra cannot compose.
    """
    overrides = as_hydra_reads(overrides, multirun=multirun, config_dir=config_dir)
    with (
        errors_of_hydra(overrides, config_dir),
        searching(config_dir),
        hydra.initialize_config_dir(str(conf_folder()), version_base=VERSION_BASE),
    ):
        given = OverridesParser.create().parse_overrides(list(overrides))
        first = [next(iter(words_of(override))) for override in given]
        values = composed(first, return_hydra_config=True)
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
        points = composer()
        varying = [len(words) > 1 for words in choices.values()]
        for words in product(*choices.values()):
            task(name_of(list(compress(words, varying)) or words), points.composed(words))
    return True


def composer() -> Composer:
    """Return what composes points, with Hydra initialised."""
    return Composer(
        compose=composed,
        parse=OverridesParser.create().parse_override,
        options_of=GlobalHydra.instance().config_loader().get_group_options,
    )


def composed(words: Sequence[str], **options: bool) -> DictConfig:
    """Return the configuration that overrides ask for."""
    with stumbling(HydraException):
        return hydra.compose("config", list(words), **options)


def as_hydra_reads(
    overrides: Sequence[str], *, multirun: bool = False, config_dir: str | None = None
) -> list[str]:
    """Return overrides as Hydra should read them; see `overrides` and `experiments`."""
    own = [Path(config_dir)] if config_dir else []
    for folder in own:
        check_folder(folder.absolute(), groups())
    words = checked(overrides, groups=groups(), multirun=multirun)
    return experiments.expanded(words, config_dir=config_dir, folders=[*own, conf_folder()])


def words_of(override: Override) -> list[str]:
    """Return an override, or each of those that a sweep over its values stands for."""
    if not override.is_sweep_override():
        return [str(override.input_line)]
    if not override.is_discrete_sweep():
        raise ConfigError(f"'{override.input_line}' has no end: name the values, as in k=1,5")
    words = [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
    if not words:
        raise ConfigError(f"'{override.input_line}' has no values")
    return words


class OwnFolder(SearchPathPlugin):
    """Lets Hydra search the user's own folder before ours: a file of a name that we have counts."""

    folder: ClassVar[str | None] = None

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Put the folder before ours."""
        if self.folder:
            search_path.prepend("command-line", f"file://{self.folder}", anchor="main")


@contextmanager
def searching(config_dir: str | None) -> Iterator[None]:
    """Let Hydra search a folder of the user's within the block."""
    Plugins.instance().register(OwnFolder)
    OwnFolder.folder = str(Path(config_dir).absolute()) if config_dir else None
    try:
        yield
    finally:
        OwnFolder.folder = None


@contextmanager
def errors_of_hydra(overrides: Sequence[str], config_dir: str | None) -> Iterator[None]:
    """Make Hydra's errors in the block ConfigErrors of one line."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise ConfigError(_explain(error, overrides, config_dir)) from None


def plain(values: DictConfig) -> Mapping[str, Any]:
    """Return a composed configuration as plain types, interpolations resolved."""
    try:
        container = OmegaConf.to_container(values, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(_explain(error, [])) from None
    found = cast(dict[str, Any], container)
    if isinstance(outputs := found.get("outputs"), str):  # wherever the runs are carried out
        found["outputs"] = str(Path(outputs).expanduser().absolute())
    return found


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
    main = hydra.main(
        version_base=VERSION_BASE, config_path=str(conf_folder()), config_name="config"
    )(lambda _: None)
    overrides = as_hydra_reads(overrides, config_dir=config_dir)
    argv, sys.argv = sys.argv, ["iwae", *more, "--", *overrides]
    try:
        with (
            errors_of_hydra(overrides, config_dir),
            searching(config_dir),
            env_override({"HYDRA_FULL_ERROR": "1"}),
            stumbling(HydraException),
        ):
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


def _explain(error: Exception, overrides: Sequence[str], config_dir: str | None = None) -> str:
    """Return what a user can do about an error of Hydra's, in one line."""
    if isinstance(error, YAMLError):
        return explain.of_yaml(error)
    if isinstance(error, OverrideParseException):
        return explain.unreadable(str(error.override))
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        # of a list of names Hydra tells no options
        return unknown(group, name, error.options or choices(group))
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} must be given: add {error.full_key}=..."
    text = str(error) or str(error.__cause__)
    if match := re.match(r"Could not override '([^']+)'", text):
        typed = [word for word in overrides if word.partition("=")[0] == match[1]]
        known = _known(overrides, config_dir)
        return explain.unknown_key(match[1], known, typed[0] if typed else "")
    if match := re.match(r"Could not append to config. An item is already at '([^']+)'", text):
        return f"the key '{match[1]}' exists: write {match[1]}=VALUE without the '+'"
    if match := re.match(r"Interpolation key '([^']+)' not found\s+full_key: (\S+)", text):
        return f"{match[2]} refers to ${{{match[1]}}}, and there is no key '{match[1]}'"
    return " ".join(text.split())


def _known(overrides: Sequence[str], config_dir: str | None) -> explain.Known:
    """Return the keys that there are where these overrides choose from the groups."""
    folders = [Path(config_dir or conf_folder()), conf_folder()]
    chosen = [text for text in overrides if text.partition("=")[0] in groups() and "," not in text]
    here = hydra.initialize_config_dir(str(conf_folder()), version_base=VERSION_BASE)
    with searching(config_dir), here:
        try:
            values = composed(chosen)
        except (HydraException, OmegaConfBaseException, ConfigError):  # what was chosen has a fault
            values = composed([])
    return explain.Known(cast(dict[str, Any], values), folders)
