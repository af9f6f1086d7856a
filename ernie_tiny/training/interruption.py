"""What SIGTERM and Ctrl-C do to a run: the step ends, a checkpoint is saved, and a message says how to go on."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn, Optional

from ernie_tiny import processes

SIGNALS = (signal.SIGTERM, signal.SIGINT)
REPEAT = "Run the same command again to continue."


class Interruption:
    """A block in which SIGTERM and SIGINT end the run in order, with exit code 143 and 130.

    Within `deferred`, where a stage trains, the first signal is only noted, and the loop looks at `received`
    after each step. At any other time it is raised as KeyboardInterrupt, which leaves at once and tells the other
    processes of the run. The second signal has the system's own effect: it ends the process where it stands, which
    costs no more than a kill does. Below paddle.distributed.launch it has none: the launcher repeats the first one
    within half a second, and kills after thirty.
    """

    def __init__(self) -> None:
        self.received: Optional[int] = None
        self._deferred = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():  # Python has no handlers in others
            self._before = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if isinstance(value, KeyboardInterrupt):
            self.leave("Stopped; what is finished is kept")

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """A block that a first signal does not break off; one that nobody has looked at breaks off its end."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        if self.received is not None:
            raise KeyboardInterrupt

    def leave(self, state: str) -> NoReturn:
        """Ends the program in order. Every process of the run calls it, or none: nobody is told."""
        number = self.received or signal.SIGTERM  # another process got it
        print(f"{signal.Signals(number).name}: {state}. {REPEAT}", file=sys.stderr)
        raise SystemExit(128 + number)

    def _receive(self, number: int, frame: Optional[FrameType]) -> None:
        self.received = number
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN if processes.is_launched() else signal.SIG_DFL)
        if not self._deferred:
            raise KeyboardInterrupt
        # Not by print: the signal may have come in the middle of one.
        name, again = signal.Signals(number).name, "" if processes.is_launched() else "; a second signal leaves at once"
        os.write(2, f"\n{name}: ends this step and saves a checkpoint{again}.\n".encode())
