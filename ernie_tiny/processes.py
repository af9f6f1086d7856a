"""The processes of one run, as python -m paddle.distributed.launch starts them; without it there is one.

Tensors go through collectives. Waiting goes through the launcher's key-value store instead: a collective of Paddle's
gloo backend fails after 30 seconds, and the main process may build a corpus for hours.
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from typing import Any, Callable, TypeVar

import paddle
import paddle.distributed as distributed
from paddle import Tensor

from ernie_tiny.errors import InputError

T = TypeVar("T")
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.5  # seconds between two looks at the store while waiting
LOOK_EVERY = 1.0  # seconds between two looks for a failure
PATIENCE = 20.0  # seconds that a failed process gives the others to see it
FAILURE, FAILURES, ENDED = "failure", "failures", "ended"  # keys: the text of one; how many failed; how many left


def rank() -> int:
    """This process's number; 0 is the main process."""
    return distributed.get_rank()


def world_size() -> int:
    return distributed.get_world_size()


def is_main() -> bool:
    return rank() == 0


def is_launched() -> bool:
    """Whether a launcher has started this process."""
    return "PADDLE_TRAINER_ID" in os.environ


class Connection:
    """A block in which the processes of a run reach each other, and none outlives another's failure.

    A thread in each one looks once a second whether a process failed. If so, the main process shows why, since a
    launcher shows its output and keeps that of the others in files, and all leave with exit code 1; whatever they
    were waiting for, on any host. They leave as well when the launcher is gone.
    """

    def __init__(self) -> None:
        self._leaving = threading.Event()
        self._watcher = threading.Thread(target=_watch, args=(self._leaving,), daemon=True)

    def __enter__(self) -> None:
        if world_size() > 1:
            distributed.init_parallel_env()
            self._watcher.start()

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        if world_size() == 1:
            return
        store, failed = _store(), isinstance(value, (Exception, KeyboardInterrupt))
        if failed or not is_main():
            self._stop_watching()
        if failed:
            store.set(FAILURE, f"process {rank()} of {world_size()} failed:\n{_described(value)}")
            store.add(FAILURES, 1)
        store.add(ENDED, 1)
        if failed or is_main():  # the store lies in the main process, and nobody must miss it
            _wait_until(lambda: store.add(ENDED, 0) == world_size(), PATIENCE if failed else math.inf)
        self._stop_watching()

    def _stop_watching(self) -> None:
        """Python's end must find no thread within Paddle: it would abort the process."""
        self._leaving.set()
        self._watcher.join()


def _described(error: BaseException) -> str:
    if isinstance(error, InputError):
        return f"error: {error}"
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


def _watch(leaving: threading.Event) -> None:
    store, launcher = _connect(), os.getppid()
    while not leaving.wait(LOOK_EVERY):
        if os.getppid() != launcher:
            print(f"process {rank()} leaves: its launcher is gone", file=sys.stderr, flush=True)
            os._exit(1)
        if store.add(FAILURES, 0) and not leaving.is_set():
            if is_main():
                print(store.get(FAILURE).decode(), file=sys.stderr, flush=True)
            store.add(ENDED, 1)
            time.sleep(LOOK_EVERY)  # so that the failed process finds the store when it looks for this
            os._exit(1)  # the main thread may wait for ever


def wait_for_all() -> None:
    """Returns when every process has come here. Goes before a collective where one may come long before another."""
    if world_size() == 1:
        return
    store = _store()
    meeting = f"meeting/{_count(store, 'meetings')}"
    store.add(meeting, 1)
    _wait_until(lambda: store.add(meeting, 0) == world_size())


def from_main(action: Callable[[], T]) -> T:
    """What `action` returns in the main process, in every process; it runs there alone while the others wait.

    Args:
        action: Returns what JSON can hold. It must not call anything that all processes have to call.
    """
    if world_size() == 1:
        return action()
    store = _store()
    name = f"answer/{_count(store, 'answers')}"
    if is_main():
        value = action()
        store.set(name, json.dumps(value))
        store.add(f"{name}/ready", 1)
        return value
    _wait_until(lambda: store.add(f"{name}/ready", 0) == 1)
    answer: T = json.loads(store.get(name))
    return answer


def gather(value: T) -> list[T]:
    """The values of all processes, in the order of their numbers, in every process."""
    if world_size() == 1:
        return [value]
    wait_for_all()
    values: list[T] = []
    distributed.all_gather_object(values, value)
    return values


def total(counts: Sequence[int]) -> Tensor:
    """int64 [counts]: each one's sum over all processes, in every process."""
    summed = paddle.to_tensor(counts, dtype="int64")
    if world_size() > 1:
        distributed.all_reduce(summed)
    return summed


def mean(values: Sequence[float]) -> list[float]:
    """Each value's mean over all processes, in every process."""
    if world_size() == 1:
        return list(values)
    summed = paddle.to_tensor(values, dtype="float64")
    distributed.all_reduce(summed)
    return [float(value) / world_size() for value in summed]


def _store() -> Any:
    """The launcher's key-value store, through the main thread's connection."""
    return paddle.base.core.create_or_get_global_tcp_store()


def _connect() -> Any:
    """Another connection to the store: one is not for two threads."""
    first = os.environ.get("PADDLE_MASTER") or os.environ["PADDLE_TRAINER_ENDPOINTS"].split(",")[0]
    host, _, port = first.partition(":")
    return paddle.base.core.TCPStore(host, int(port), False, 0)


def _count(store: Any, calls: str) -> int:
    """How often this process has made such calls; all make the same ones, so that the number names one of them."""
    return int(store.add(f"{calls}/{rank()}", 1))


def _wait_until(condition: Callable[[], bool], patience: float = math.inf) -> None:
    pause, end = FIRST_PAUSE, time.monotonic() + patience
    while not condition() and time.monotonic() < end:
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
