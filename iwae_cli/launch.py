"""The only file that knows Hydra: overrides, sweeps, launchers, completion, and its errors as ours.

A sweep is composed twice: first every point is checked and nothing is started (`plan`), then its
jobs go through Hydra's launcher (`launch`). A job leaves its outcome as a file in a temporary sweep
folder, so that any launcher can carry it, in this process or in others. Hydra leaves no file.
"""

import difflib
import json
import logging
import re
import sys
import tempfile
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

from iwae_cli.core.config import Config, parse, unknown
from iwae_cli.core.errors import ConfigError, IwaeError, Stopped
from iwae_cli.core.signals import StopSignals
from iwae_cli.data import registry
from iwae_cli.terminal import log_to_stderr

log = logging.getLogger("iwae")

VERSION_BASE = "1.3"
# Launchers that come with an extra of the same name
EXTRAS = ("joblib",)
LAUNCHER = ("hydra/launcher", "hydra.launcher")


@dataclass(frozen=True)
class Point:
    """One run that a command line asks for: its overrides and its checked configuration."""

    overrides: str
    config: Config


@dataclass(frozen=True)
class Plan:
    """All runs that a command line asks for, in order, and whether they are a sweep."""

    points: list[Point]
    sweep: bool


@dataclass(frozen=True)
class Launched:
    """What came of a plan: each finished run's results, and a line for each failed run."""

    results: list[dict[str, Any]]
    failures: list[str]


def conf_folder() -> Path:
    """Return the folder of the YAML files: beside this module in a wheel, else in the checkout."""
    package = Path(__file__).resolve().parent
    return next(conf for conf in (package / "conf", package.parent / "conf") if conf.is_dir())


def plan(overrides: Sequence[str], *, multirun: bool, config_dir: str | None = None) -> Plan:
    """Return every run that the overrides ask for, composed and checked; start nothing.

    Raises:
        IwaeError: The fault of a single run, or one ConfigError with all faults of a sweep.
    """
    from iwae_cli.training.resolve import validate

    points: list[Point] = []
    faults: list[tuple[str, IwaeError]] = []
    sweep = False

    def check(values: DictConfig) -> None:
        nonlocal sweep
        sweep = HydraConfig.get().mode == RunMode.MULTIRUN
        name = _name()
        try:
            config = parse(_plain(values))
            validate(config)
        except IwaeError as error:
            faults.append((name, error))
        else:
            points.append(Point(name, config))

    here = [text for text in overrides if not text.lstrip("+~").startswith(LAUNCHER)]
    with tempfile.TemporaryDirectory(prefix="iwae-") as folder:
        here += ["hydra/launcher=basic", f"hydra.sweep.dir='{folder}'"]
        _hydra_main(check, here, multirun=multirun, config_dir=config_dir)
    if faults:
        if not sweep:
            raise faults[0][1]
        lines = "; ".join(f"[{name}] {error}" for name, error in faults)
        bad = f"{len(faults)} of {len(faults) + len(points)} points"
        raise ConfigError(f"{bad} of the sweep cannot run, none was started: {lines}")
    return Plan(points, sweep)


def launch(overrides: Sequence[str], *, multirun: bool, config_dir: str | None = None) -> Launched:
    """Carry out every run that the overrides ask for, once all of them have been checked.

    A run of a sweep that fails is recorded and the others go on; SIGINT and SIGTERM end the sweep.
    `config_dir` is the user's own folder of YAML files, searched before ours.

    Raises:
        IwaeError: A fault found before anything started, the failure of a single run, or Stopped.
    """
    from iwae_cli.training import run as training

    todo = plan(overrides, multirun=multirun, config_dir=config_dir)
    if not todo.sweep:
        return Launched([training.run(point.config).as_dict() for point in todo.points], [])
    for point in todo.points:  # data that is missing is missing before the first run
        registry.loaded(registry.find(point.config.dataset))
    log.info("sweep of %d runs", len(todo.points))
    with tempfile.TemporaryDirectory(prefix="iwae-") as folder:
        there = [*overrides, f"hydra.sweep.dir='{folder}'"]
        with StopSignals(forward=True) as signals:
            try:
                _hydra_main(_job, there, multirun=multirun, config_dir=config_dir)
            except Exception:  # a launcher fails in its own ways when its workers are told to end
                if signals.received is None:
                    raise
        files = [Path(folder, str(number), "outcome.json") for number in range(len(todo.points))]
        outcomes = [json.loads(file.read_text()) for file in files if file.exists()]
    results = [outcome["result"] for outcome in outcomes if "result" in outcome]
    stopped = [outcome for outcome in outcomes if "stopped" in outcome]
    if signals.received is not None or stopped:
        said = "; ".join(outcome["stopped"] for outcome in stopped) or "stopped between two runs"
        number = signals.received or stopped[0]["signal"]
        done = f"{len(results)} of {len(todo.points)} runs of the sweep are finished"
        raise Stopped(f"{said}; {done}", signal_number=number)
    return Launched(results, [outcome["failed"] for outcome in outcomes if "failed" in outcome])


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
    _hydra_main(lambda _: None, overrides, *flags, config_dir=config_dir)


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


def _plain(values: DictConfig) -> Mapping[str, Any]:
    """Return a composed configuration as plain types, interpolations resolved."""
    try:
        plain = OmegaConf.to_container(values, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(_explain(error, [])) from None
    return cast(Mapping[str, Any], plain)


def _name() -> str:
    """Return the overrides of the job at hand, as they were typed."""
    task = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    return " ".join(cast(list[str], task))


def _job(values: DictConfig) -> None:
    """Carry out one run of a sweep, in whatever process, and leave its outcome in its folder."""
    from iwae_cli.training import run as training

    folder = Path(HydraConfig.get().runtime.output_dir)
    name = _name()
    if (stopped := folder.parent / "stopped").exists():
        return
    if not log.handlers:  # another process than the one that was started
        log_to_stderr()
    log.info("run %d of the sweep: %s", HydraConfig.get().job.num + 1, name)
    try:
        with StopSignals() as signals:
            if signals.received is not None:
                return
            result = training.run(parse(_plain(values)), wait=True)
            if signals.received is not None:
                stopped.touch()
        outcome: dict[str, Any] = {"result": result.as_dict()}
    except Stopped as error:
        stopped.touch()
        outcome = {"stopped": str(error), "signal": error.exit_code - 128}
    except IwaeError as error:
        log.error("failed: %s", error)
        outcome = {"failed": f"[{name}] {error}"}
    (folder / "outcome.json").write_text(json.dumps(outcome))


def _hydra_main(
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
