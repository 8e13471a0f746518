"""Ending long work cleanly on Ctrl-C or SIGTERM."""

import multiprocessing
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, ClassVar


class StopSignals:
    """While entered, SIGINT and SIGTERM are noted in `received`; a second SIGINT ends at once.

    One that is entered inside another starts with what the outer one has received. With `forward`,
    SIGTERM goes on to the processes that this one started; Ctrl-C reaches them by itself.
    """

    _entered: ClassVar[list["StopSignals"]] = []

    def __init__(self, *, forward: bool = False) -> None:
        self.received: int | None = None
        self.forward = forward
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopSignals":
        if self._entered:
            self.received = self._entered[-1].received
        self._entered.append(self)
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        for entered in self._entered:
            entered.received = number
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.forward and number == signal.SIGTERM:
            for child in multiprocessing.active_children():
                child.terminate()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._entered.remove(self)
        for number, handler in self._previous.items():
            signal.signal(number, handler)
