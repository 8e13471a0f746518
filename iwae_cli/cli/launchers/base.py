"""What a launcher is: its options, and how it carries out the jobs of a sweep."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Literal

from iwae_cli.core.errors import ConfigError, IwaeError
from iwae_cli.core.signals import StopSignals
from iwae_cli.runs.sweep_folder import Job, SweepFolder

Active = Literal["queued", "running"]


class EngineAway(IwaeError):
    """An engine that does not answer."""


@dataclass(frozen=True)
class Launcher(ABC):
    """Carries out the jobs of a sweep; its fields are the options of `launcher=NAME`.

    Attributes:
        package: The package that it needs, which the extra of the launcher's name installs.
    """

    name: str
    package: ClassVar[str | None] = None

    def check(self) -> None:
        """Raise ConfigError unless what the launcher needs is installed."""
        if self.package and find_spec(self.package) is None:
            raise ConfigError(
                f"launcher={self.name} is not installed: pip install 'iwae-cli[{self.name}]'"
            )


class Here(Launcher):
    """Carries out jobs on this machine, and ends with this process."""

    @abstractmethod
    def run(self, sweep: SweepFolder, jobs: Sequence[Job], signals: StopSignals) -> None:
        """Carry out the jobs, parents first; end early once `signals` has received one."""


class Engine(Launcher):
    """Hands jobs to a queue that goes on without this process."""

    @abstractmethod
    def submit(
        self, sweep: SweepFolder, jobs: Sequence[Job], queued: Mapping[int, str]
    ) -> Mapping[int, str]:
        """Queue jobs that need nothing but finished and queued ones; return the engine's ids.

        Args:
            sweep: The folder, on a disk that all machines share.
            jobs: To be queued; none needs another of them.
            queued: Ids of the jobs that they may need and that have not finished.
        """

    @abstractmethod
    def active(self, sweep: SweepFolder) -> Mapping[int, Active]:
        """Return the jobs that the engine still has, queued or running."""

    @abstractmethod
    def cancel(self, sweep: SweepFolder) -> None:
        """Take queued jobs out of the queue, and have running ones save and end."""

    def clear_strays(self, sweep: SweepFolder) -> None:  # noqa: B027  (not all engines have any)
        """Cancel jobs that were submitted but not noted."""

    def log_of(self, sweep: SweepFolder, number: int, identifier: str) -> Path:
        """Return the log to look at where a job is lost."""
        return sweep.log(number)

    @abstractmethod
    def end_of(self, sweep: SweepFolder, number: int, identifier: str) -> str:
        """Return what the engine remembers of a job that it no longer has, such as `FAILED`."""

    def close(self, sweep: SweepFolder) -> None:  # noqa: B027  (not all engines keep anything)
        """Give back what the engine keeps for a sweep that is over."""
