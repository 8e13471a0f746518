"""Experiment trackers: `log=NAME`, one file each."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import Any

from iwae_cli.core.building import build
from iwae_cli.core.by_name import ByName
from iwae_cli.core.errors import ConfigError, unknown
from iwae_cli.core.trackers.base import Options, TrackedRun, Tracker

TRACKERS = ByName[Options](__name__, __path__, shared=("base",))


def check(nodes: Mapping[str, Any]) -> dict[str, Options]:
    """Return the options of each tracker of a config's node `log`.

    Raises:
        ConfigError: An unknown tracker or option, or a package that is not installed.
    """
    found: dict[str, Options] = {}
    for name, values in nodes.items():
        if name not in TRACKERS:
            raise ConfigError(unknown("log", name, (*TRACKERS, "none")))
        cls = TRACKERS[name]
        if find_spec(cls.package) is None:
            raise ConfigError(f"log={name} is not installed: pip install 'iwae-cli[{name}]'")
        found[name] = build(cls, values or {}, where=f"log.{name}")
    return found


@contextmanager
def tracking(
    nodes: Mapping[str, Any], run: TrackedRun, *, passes: int
) -> Iterator[Sequence[Tracker]]:
    """Open the trackers of a config's node `log`, and close them however the block ends.

    Args:
        nodes: The node.
        run: What is tracked; the same run goes on where it was.
        passes: Passes that are done, whose metrics a tracker may have already.
    """
    with ExitStack() as stack:
        yield [
            stack.enter_context(options.open(run, passes=passes))
            for options in check(nodes).values()
        ]


__all__ = ["TRACKERS", "TrackedRun", "Tracker", "check", "tracking"]
