"""Every run that a command line asks for, checked first and then carried out.

A sweep is composed twice: first every point is checked and nothing is started (`plan`), then its
jobs go through Hydra's launcher (`launch`). A job leaves its outcome as a file in a temporary sweep
folder, so that any launcher can carry it, in this process or in others. Hydra leaves no file.
"""

import json
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from iwae_cli.cli import compose
from iwae_cli.cli.output import log_to_stderr
from iwae_cli.core.config import Config, parse
from iwae_cli.core.errors import ConfigError, IwaeError, Stopped
from iwae_cli.core.signals import StopSignals
from iwae_cli.data import registry

log = logging.getLogger("iwae")
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
        job = compose.job()
        sweep = job.sweep
        try:
            config = parse(compose.plain(values))
            validate(config)
        except IwaeError as error:
            faults.append((job.name, error))
        else:
            points.append(Point(job.name, config))

    here = [text for text in overrides if not text.lstrip("+~").startswith(LAUNCHER)]
    with tempfile.TemporaryDirectory(prefix="iwae-") as folder:
        here += ["hydra/launcher=basic", f"hydra.sweep.dir='{folder}'"]
        compose.hydra_main(check, here, multirun=multirun, config_dir=config_dir)
    if faults:
        if not sweep:
            raise faults[0][1]
        lines = "; ".join(f"[{name}] {error}" for name, error in faults)
        bad = f"{len(faults)} of {len(faults) + len(points)} points"
        raise ConfigError(f"{bad} of the sweep cannot run, none was started: {lines}")
    return Plan(points, sweep)


def plans(
    sweeps: Sequence[Sequence[str]], *, multirun: bool, config_dir: str | None = None
) -> list[Plan]:
    """Return the plan of each of several sweeps; see `plan`."""
    return [plan(sweep, multirun=multirun, config_dir=config_dir) for sweep in sweeps]


def launch_all(
    sweeps: Sequence[Sequence[str]], *, multirun: bool, config_dir: str | None = None
) -> Launched:
    """Carry out sweeps one after another, once all of them have been checked; see `launch`.

    Of several, one that fails is recorded and the others go on.

    Raises:
        IwaeError: A fault found before anything started, the failure of the only one, or Stopped.
    """
    if len(sweeps) == 1:
        return launch(sweeps[0], multirun=multirun, config_dir=config_dir)
    plans(sweeps, multirun=multirun, config_dir=config_dir)
    done = Launched([], [])
    for number, sweep in enumerate(sweeps, start=1):
        name = " ".join(sweep)
        log.info("sweep %d of %d: %s", number, len(sweeps), name)
        try:
            one = launch(sweep, multirun=multirun, config_dir=config_dir)
        except Stopped:
            raise
        except IwaeError as error:
            log.error("failed: %s", error)
            one = Launched([], [f"[{name}] {error}"])
        done.results.extend(one.results)
        done.failures.extend(one.failures)
    return done


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
                compose.hydra_main(_job, there, multirun=multirun, config_dir=config_dir)
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


def _job(values: DictConfig) -> None:
    """Carry out one run of a sweep, in whatever process, and leave its outcome in its folder."""
    from iwae_cli.training import run as training

    job = compose.job()
    if (stopped := job.folder.parent / "stopped").exists():
        return
    if not log.handlers:  # another process than the one that was started
        log_to_stderr()
    log.info("run %d of the sweep: %s", job.number + 1, job.name)
    try:
        with StopSignals() as signals:
            if signals.received is not None:
                return
            result = training.run(parse(compose.plain(values)), wait=True)
            if signals.received is not None:
                stopped.touch()
        outcome: dict[str, Any] = {"result": result.as_dict()}
    except Stopped as error:
        stopped.touch()
        outcome = {"stopped": str(error), "signal": error.exit_code - 128}
    except IwaeError as error:
        log.error("failed: %s", error)
        outcome = {"failed": f"[{job.name}] {error}"}
    (job.folder / "outcome.json").write_text(json.dumps(outcome))
