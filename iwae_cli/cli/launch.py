"""Every run that a command line asks for, checked first and then carried out.

Hydra composes each run once (`plan`) and knows nothing of where it is carried out. A sweep is then
a list of jobs in a folder of its own, which a launcher carries out (`launch`); every job leaves its
record there, whatever process or machine it ran on.
"""

import logging
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from omegaconf import DictConfig

from iwae_cli.cli import compose, launchers
from iwae_cli.cli.launchers.attach import Watch, submit_missing
from iwae_cli.cli.launchers.base import Engine, EngineAway, Here
from iwae_cli.cli.launchers.jobs import Point, jobs_of
from iwae_cli.cli.launchers.outcome import Launched, outcome
from iwae_cli.core.config import parse
from iwae_cli.core.errors import ConfigError, IwaeError, Stopped, UsageError
from iwae_cli.core.progress import Counter, counted
from iwae_cli.core.signals import StopSignals
from iwae_cli.data import registry
from iwae_cli.runs.sweep_folder import Job, SweepFolder, sweep_name

log = logging.getLogger("iwae")


@dataclass(frozen=True)
class Plan:
    """All runs that a command line asks for, in order, whether they are a sweep, and where."""

    points: list[Point]
    sweep: bool
    launcher: dict[str, Any] = field(default_factory=lambda: {"name": "local"})


def plan(overrides: Sequence[str], *, multirun: bool, config_dir: str | None = None) -> Plan:
    """Return every run that the overrides ask for, composed and checked; start nothing.

    Raises:
        IwaeError: The fault of a single run, or one ConfigError with all faults of a sweep.
    """
    from iwae_cli.training.components import validate

    refuse_hydras_launchers(overrides)
    points: list[Point] = []
    faults: list[tuple[str, IwaeError]] = []
    nodes: list[dict[str, Any]] = []
    counter = Counter("runs composed and checked")

    def check(name: str, composed: DictConfig) -> None:
        try:
            values = dict(compose.plain(composed))
            nodes.append(node_of(values.pop("launcher")))
            config = parse(values)
            validate(config)
        except IwaeError as error:
            faults.append((name, error))
        else:
            points.append(Point(name, config))
        counter.count()

    sweep = compose.each_point(check, overrides, multirun=multirun, config_dir=config_dir)
    if faults:
        if not sweep:
            raise faults[0][1]
        lines = "; ".join(f"[{name}] {error}" for name, error in faults)
        bad = f"{len(faults)} of {len(faults) + len(points)} points"
        raise ConfigError(f"{bad} of the sweep cannot run, none was started: {lines}")
    if any(node != nodes[0] for node in nodes):
        raise ConfigError("launcher cannot be swept over: all runs of a sweep have the same one")
    launchers.find(nodes[0])
    return Plan(points, sweep, nodes[0])


def node_of(value: object) -> dict[str, Any]:
    """Return a launcher's node.

    Raises:
        ConfigError: It is none.
    """
    if not isinstance(value, dict):
        raise ConfigError(f"launcher takes a name, got {value}: {', '.join(launchers.LAUNCHERS)}")
    return value


def refuse_hydras_launchers(overrides: Sequence[str]) -> None:
    """Raise ConfigError where a launcher of Hydra's is asked for, with what to write instead."""
    for text in overrides:
        key, _, value = text.lstrip("+~").partition("=")
        if key == "hydra/launcher":
            raise ConfigError(
                f"'{text}': write launcher={value if value in launchers.LAUNCHERS else 'NAME'}; "
                f"launchers are {', '.join(launchers.LAUNCHERS)}"
            )
        if key.startswith("hydra.launcher."):
            raise ConfigError(f"'{text}': write {text.lstrip('+~').removeprefix('hydra.')}")


def plans(
    sweeps: Sequence[Sequence[str]], *, multirun: bool, config_dir: str | None = None
) -> list[Plan]:
    """Return the plan of each of several sweeps; see `plan`."""
    return [plan(sweep, multirun=multirun, config_dir=config_dir) for sweep in sweeps]


def launch_all(
    sweeps: Sequence[Sequence[str]],
    *,
    multirun: bool,
    config_dir: str | None = None,
    detach: bool = False,
) -> Launched:
    """Carry out sweeps one after another, once all of them have been checked; see `launch`.

    Of several, one that fails is recorded and the others go on. `config_dir` is the user's own
    folder of YAML files, searched before ours.

    Raises:
        IwaeError: A fault found before anything started, the failure of the only one, or Stopped.
    """
    todo = plans(sweeps, multirun=multirun, config_dir=config_dir)
    if len(todo) == 1:
        return launch(todo[0], detach=detach)
    done = Launched([], [], sweep=True)
    for number, (sweep, one) in enumerate(zip(sweeps, todo, strict=True), start=1):
        name = " ".join(sweep)
        log.info("sweep %d of %d: %s", number, len(sweeps), name)
        try:
            came = launch(one, detach=detach)
        except Stopped:
            raise
        except IwaeError as error:
            log.error("failed: %s", error)
            came = Launched([], [f"[{name}] {error}"])
        done.results.extend(came.results)
        done.failures.extend(came.failures)
    return done


def launch(todo: Plan, *, detach: bool = False) -> Launched:
    """Carry out every run of a plan; with `detach`, only hand its jobs to the engine.

    A run of a sweep that fails is recorded and the others go on; a signal ends the sweep.

    Raises:
        IwaeError: Data that is missing, the failure of a single run, or Stopped.
    """
    from iwae_cli.training import run as training

    launcher = launchers.find(todo.launcher)
    if detach and not isinstance(launcher, Engine):
        raise UsageError(
            f"launcher={launcher.name} ends with this command: --detach needs slurm or ray"
        )
    if not todo.sweep and launcher.name == "local":
        return Launched([training.run(point.config).as_dict() for point in todo.points], [])
    launcher.check()
    for point in todo.points:  # data that is missing is missing before the first run
        registry.loaded(registry.find(point.config.dataset))
    jobs = jobs_of(todo.points)
    folder = Path(todo.points[0].config.outputs) / "sweeps" / sweep_name(jobs)
    sweep = SweepFolder(folder.absolute())
    with sweep.lock():
        log.info("sweep of %s: %s", counted(len(todo.points), "run"), folder)
        refuse_second_engine(sweep, todo.launcher["name"])
        sweep.write(jobs, todo.launcher)
        if isinstance(launcher, Engine):
            return with_engine(launcher, sweep, jobs, detach=detach)
        assert isinstance(launcher, Here)
        for job in jobs:
            sweep.forget(job.number)
        with StopSignals(forward=True) as signals:
            launcher.run(sweep, jobs, signals)
        return outcome(sweep, jobs, signals.received)


def refuse_second_engine(sweep: SweepFolder, name: str) -> None:
    """Raise UsageError where another engine than `name` has jobs of a sweep."""
    if not sweep.exists or (before := sweep.launcher()["name"]) == name:
        return
    engine = launchers.find(sweep.launcher())
    if not isinstance(engine, Engine):
        return
    try:
        engine.check()
        active = engine.active(sweep)
    except (ConfigError, EngineAway) as error:
        raise UsageError(
            f"this sweep was given to launcher={before}, which cannot be asked ({error}): bring it "
            f"back, or remove {sweep.path}"
        ) from None
    if active:
        raise UsageError(
            f"jobs of this sweep are with launcher={before}: attach to them with that, or end "
            f"them with 'iwae cancel {sweep.name}'"
        )


def with_engine(
    launcher: Engine, sweep: SweepFolder, jobs: Sequence[Job], *, detach: bool
) -> Launched:
    """Have an engine carry out what is missing of a sweep, and watch it unless told to detach.

    Raises:
        Stopped: A signal; Ctrl-C asks whether the jobs shall go on.
    """
    with StopSignals() as signals:
        submit_missing(launcher, sweep, jobs)
        if detach:
            log.info("the same command attaches again; 'iwae cancel %s' ends it", sweep.name)
            return Launched([], [], sweep=True)
        watch = Watch(launcher, sweep, jobs)
        watch.run(signals)
        if signals.received is None:
            watch.record_lost()
            launcher.close(sweep)
            return outcome(sweep, jobs, None)
        left = watch.describe()
        stay = "the jobs go on: the same command attaches again"
        if signals.received == signal.SIGINT and cancel_wanted(left):
            launcher.cancel(sweep)
            stay = "the jobs were cancelled, running ones save: the same command goes on"
        raise Stopped(f"{left}; {stay}", signal_number=signals.received)


def cancel_wanted(left: str) -> bool:
    """Ask once what Ctrl-C is to do with the jobs; a second Ctrl-C leaves them and ends at once."""
    if not sys.stdin.isatty():
        return True
    try:
        return click.confirm(f"{left}: cancel all that have not finished?", default=True, err=True)
    except click.Abort:
        return False
