"""Ending long work cleanly on the signals by which users, terminals and clusters end it."""

import multiprocessing
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, ClassVar

from iwae_cli.core.errors import Stopped

# Ctrl-C; kill and preemption; a closed terminal; what clusters send before a time limit, and the
# limit of processor time. Not every platform has all of them.
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
STOPPING = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))
ALWAYS = (signal.SIGINT, signal.SIGTERM)
XCPU = getattr(signal, "SIGXCPU", None)


class StopSignals:
    """While entered, the first signal of `STOPPING` is noted in `received`.

    A second Ctrl-C ends at once. What the starter of this process told it to ignore, as `nohup`
    does with SIGHUP, stays ignored. One that is entered inside another starts with what the outer
    one has received.

    Args:
        forward: Whether SIGTERM goes on to the processes that this one started; Ctrl-C reaches
            them by itself.
        interrupt: Whether the block is left by `Stopped` as soon as a signal arrives; one that
            arrives in an inner block leaves this one when the inner block has ended.
    """

    _entered: ClassVar[list["StopSignals"]] = []

    def __init__(self, *, forward: bool = False, interrupt: bool = False) -> None:
        self.received: int | None = None
        self.forward, self.interrupt = forward, interrupt
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopSignals":
        if self._entered:
            self.received = self._entered[-1].received
        self._entered.append(self)
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                if number in ALWAYS or signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        for entered in self._entered:
            if entered.received is None:
                entered.received = number
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.forward and number != signal.SIGINT:
            for child in multiprocessing.active_children():
                child.terminate()
        self._leave_if_told()

    def _leave_if_told(self) -> None:
        if self.interrupt and self.received is not None:
            raise Stopped(f"stopped by {named(self.received)}", signal_number=self.received)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._entered.remove(self)
        for number, handler in self._previous.items():
            again = number == self.received == XCPU  # it comes every second from now on
            signal.signal(number, signal.SIG_IGN if again else handler)
        if kind is None and self._entered:
            self._entered[-1]._leave_if_told()


def named(number: int) -> str:
    """Return a signal's name, Ctrl-C for SIGINT."""
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
