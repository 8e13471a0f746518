"""One run from config to results: identity, folder, lock, training, evaluation."""

import dataclasses
import logging
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from iwae_cli import checkpoint, config
from iwae_cli.components import Components, components_of, device_of, resolved
from iwae_cli.config import Config
from iwae_cli.data.dataset import Dataset
from iwae_cli.environment import describe_environment, numerics
from iwae_cli.errors import CheckpointError, IwaeError, NonFiniteError, Stopped
from iwae_cli.models.iwae import IWAE
from iwae_cli.randomness import derived_seed
from iwae_cli.run_folder import RunFolder, newest_run
from iwae_cli.trained import active_units, evaluate, load_model, load_parameters
from iwae_cli.training import Trainer

__all__ = [
    "RunResult",
    "active_units",
    "evaluate",
    "load_model",
    "newest_run",
    "run",
    "validate",
]

log = logging.getLogger("iwae")


@dataclass(frozen=True)
class RunResult:
    """What a training run came to; bounds in nats per image."""

    folder: Path
    identity: str
    passes: int
    steps: int
    bound: float
    valid_bound: float | None
    seconds: float
    already_finished: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return {**dataclasses.asdict(self), "folder": str(self.folder)}


def validate(settings: Config) -> None:
    """Check everything of a config that needs neither data nor time.

    Raises:
        ConfigError: One line with what is wrong.
    """
    components_of(settings)
    device_of(settings.device)


def identity_of(settings: Config, components: Components, dataset: Dataset) -> str:
    """Return the run's identity: SHA-256 over all that can change its parameters, in hex."""
    own = config.identity_fields(settings)
    parts = {
        **own,
        "dataset": dataset.content_hash,
        "arch": config.identity_fields(settings.arch),
        "objective": config.identity_fields(components.objective),
        "optimizer": config.identity_fields(components.schedule),
    }
    return config.identity(parts)


def run(settings: Config) -> RunResult:
    """Train a model, or resume its training, in the folder that belongs to its config.

    Raises:
        ConfigError: A value that cannot be run.
        DataError: The data set is missing or damaged.
        RunLockedError: Another process trains the same run.
        CheckpointError: The checkpoint cannot be read or written.
        NonFiniteError: The bound became NaN or infinite.
        Stopped: SIGINT or SIGTERM; the state was saved.
    """
    components = components_of(settings)
    device = device_of(settings.device)
    torch.set_num_threads(settings.threads or default_threads())
    dataset = components.source.load()
    identity = identity_of(settings, components, dataset)
    name = (
        f"{dataset.name}-{settings.arch.name}-{settings.objective['name']}"
        f"-k{settings.k}-seed{settings.seed}-{identity[:8]}"
    )
    folder = RunFolder(Path(settings.outputs) / "runs" / name)
    folder.path.mkdir(parents=True, exist_ok=True)
    with folder.lock():
        return train(settings, components, dataset, identity, folder, device)


def default_threads() -> int:
    """Return OMP_NUM_THREADS where it is set, else the number of cores this process may use."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    if limit.isdecimal():
        return int(limit)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def train(
    settings: Config,
    components: Components,
    dataset: Dataset,
    identity: str,
    folder: RunFolder,
    device: torch.device,
) -> RunResult:
    """Train in a locked folder, from its checkpoint if it holds one."""
    start = time.monotonic()
    model = new_model(settings, dataset).to(device)
    trainer = Trainer(
        model,
        components.objective,
        components.schedule,
        k=settings.k,
        seed=settings.seed,
        train=torch.from_numpy(dataset.train).to(device),
        valid=torch.from_numpy(dataset.valid).to(device),
        dynamic=dataset.binarization == "dynamic",
    )
    plain = resolved(settings, components)

    def save() -> None:
        content = {
            "config": plain,
            "identity": identity,
            "data": {
                "hash": dataset.content_hash,
                "label": dataset.label,
                "binarization": dataset.binarization,
                "pixels": dataset.train.shape[1],
                "image_shape": dataset.image_shape,
            },
            "model": model.state_dict(),
            "optimizer": trainer.optimizer.state_dict(),
            "training": {**trainer.state(), "steps": trainer.steps},
            "versions": numerics(device),
        }
        checkpoint.save(folder.checkpoint, content)

    if folder.checkpoint.exists():
        restore(trainer, checkpoint.load(folder.checkpoint), identity, folder, device)
    if not trainer.finished:
        with log_file(folder):
            log.info("%s %s", "resuming" if trainer.steps else "training", folder.path)
            folder.write_config(plain)
            environment = describe_environment(dataset, device)
            environment |= {"identity": identity, "total_passes": trainer.schedule.total_passes}
            folder.write_environment(environment)
            folder.write_metrics(trainer.metrics)
            with hints(folder):
                trainer.run(
                    save=save,
                    on_pass=folder.append_metrics,
                    checkpoint_seconds=settings.checkpoint_seconds,
                    validate_passes=settings.validate_passes,
                )
        already_finished = False
    else:
        already_finished = True
    last = trainer.metrics[-1]
    return RunResult(
        folder=folder.path,
        identity=identity,
        passes=trainer.pass_index,
        steps=trainer.steps,
        bound=last.train_bound,
        valid_bound=None if math.isnan(last.valid_bound) else last.valid_bound,
        seconds=time.monotonic() - start,
        already_finished=already_finished,
    )


def new_model(settings: Config, dataset: Dataset) -> IWAE:
    """Return a model on the CPU with freshly drawn parameters."""
    model = IWAE(dataset.train.shape[1], settings.arch)
    generator = torch.Generator().manual_seed(derived_seed(settings.seed, "initialisation"))
    mean = torch.from_numpy(dataset.train.mean(axis=0, dtype="float64")).float()
    model.initialise(
        settings.arch.init,
        generator=generator,
        mean_image=mean if settings.arch.output_bias else None,
    )
    return model


def restore(
    trainer: Trainer,
    content: dict[str, Any],
    identity: str,
    folder: RunFolder,
    device: torch.device,
) -> None:
    """Continue from a checkpoint; warn where the numbers can differ from an uninterrupted run.

    Raises:
        CheckpointError: It belongs to another run.
    """
    if content["identity"] != identity:
        raise CheckpointError(
            f"{folder.checkpoint} belongs to another run (identity {content['identity'][:8]}, "
            f"expected {identity[:8]}); move it away"
        )
    load_parameters(trainer.model, content, folder.checkpoint)
    trainer.optimizer.load_state_dict(content["optimizer"])
    trainer.restore(content["training"])
    now = numerics(device)
    changed = [key for key in now if content["versions"].get(key) != now[key]]
    if changed and not trainer.finished:
        differences = ", ".join(
            f"{key} {content['versions'].get(key)} -> {now[key]}" for key in changed
        )
        log.warning("warning: resumed with %s: not bit for bit as if uninterrupted", differences)


@contextmanager
def hints(folder: RunFolder) -> Iterator[None]:
    """Add what to do next to the errors that end a training run."""
    try:
        yield
    except Stopped as error:
        error.args = (f"{error}; run the same command again to resume {folder.path}",)
        raise
    except NonFiniteError as error:
        kept = f"; {folder.checkpoint} is the last good one" if folder.checkpoint.exists() else ""
        raise NonFiniteError(f"{error}{kept}; a lower optimizer.learning_rate may help") from None


@contextmanager
def log_file(folder: RunFolder) -> Iterator[None]:
    """Copy the log, progress included, to the run's train.log, and the error that ends it."""
    handler = logging.FileHandler(folder.log)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    try:
        yield
    except IwaeError as error:
        level_of_end = logging.WARNING if isinstance(error, Stopped) else logging.ERROR
        handler.handle(log.makeRecord("iwae", level_of_end, "", 0, str(error), (), None))
        raise
    finally:
        log.setLevel(level)
        log.removeHandler(handler)
        handler.close()
