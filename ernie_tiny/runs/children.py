"""Programs that run several at a time, and never longer than the one that started them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Callable, Optional

PAUSE = 0.1  # seconds between two looks at the children
SET_PARENT_DEATH_SIGNAL = 1  # prctl(2)


class Children:
    """A block that runs commands, each in a process group of its own; iterating gives (folder, exit code) as they end.

    More may be added while they run, by who iterates.

    When the block is left before that, by SIGTERM, Ctrl-C or an error, the groups get SIGTERM, which lets a training
    save a checkpoint, and are waited for; a second signal kills them. On Linux they are killed as well when this
    process is killed itself; elsewhere they then run on to their end.

    Args:
        commands: By folder, which is made where it is missing.
        jobs: How many run at a time.
        log: Name of the file in its folder that a command's output is appended to.
    """

    def __init__(self, commands: Mapping[str, Sequence[str]], jobs: int, log: str) -> None:
        self._waiting, self._jobs, self._log = list(commands.items()), jobs, log
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._before: Any = None

    def __enter__(self) -> Children:
        self._before = signal.signal(signal.SIGTERM, _leave)
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            if self._running:
                print(
                    f"Stops {len(self._running)} runs, which save a checkpoint each. A second signal kills them. "
                    "The same command goes on from here.",
                    file=sys.stderr,
                    flush=True,
                )
            self._send(signal.SIGTERM)
            for process in self._running.values():
                process.wait()
        finally:
            self._send(signal.SIGKILL)
            signal.signal(signal.SIGTERM, self._before)

    def add(self, folder: str, command: Sequence[str]) -> None:
        """Another command, behind those that wait."""
        self._waiting.append((folder, command))

    def __iter__(self) -> Iterator[tuple[str, int]]:
        while self._waiting or self._running:
            while self._waiting and len(self._running) < self._jobs:
                folder, command = self._waiting.pop(0)
                self._running[folder] = self._start(Path(folder), command)
            time.sleep(PAUSE)
            for folder in [name for name, process in self._running.items() if process.poll() is not None]:
                yield folder, self._running.pop(folder).returncode

    def _start(self, folder: Path, command: Sequence[str]) -> subprocess.Popen[bytes]:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / self._log).open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_tie_to_this_process(),
            )

    def _send(self, number: signal.Signals) -> None:
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)


def _leave(number: int, frame: Optional[FrameType]) -> None:
    raise SystemExit(128 + number)


def _tie_to_this_process() -> Optional[Callable[[], None]]:
    """What a child calls before its program, to be killed when this process ends; None where there is no way."""
    if sys.platform != "linux":
        return None
    system, parent = ctypes.CDLL(None), os.getpid()

    def tie() -> None:
        system.prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before it could be tied to
            os._exit(1)

    return tie
