"""Questions of many clients, answered together: one thread a model takes what has come in and answers it at once."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Callable, Optional

from ernie_tiny.data.task import Example, Prediction

logger = logging.getLogger(__name__)
Answer = Callable[[Sequence[Example]], Sequence[Prediction]]


class FullError(Exception):
    """More questions wait than may; try again after `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"too many questions wait; try again in {seconds:.0f} s")
        self.seconds = seconds


class ClosedError(Exception):
    """The queue takes nothing more: the server ends."""


@dataclass
class _Request:
    examples: Sequence[Example]
    future: Future[Sequence[Prediction]] = field(default_factory=Future)


class BatchQueue:
    """Requests of one model. They are answered whole and in the order in which they came, several in one batch.

    A request waits for others while the thread is busy, and at most `wait` seconds more where fewer than `batch`
    examples have come.

    Args:
        answer: Called by one thread; may be changed by `replace`.
        batch: Examples that are answered together; a larger request is one batch by itself.
        room: Examples that may wait.
        wait: Seconds that an idle thread waits for more than it has.
    """

    def __init__(self, answer: Answer, batch: int, room: int, wait: float) -> None:
        self._answer, self._batch, self._room, self._wait = answer, batch, room, wait
        self._requests: deque[_Request] = deque()
        self._waiting, self._closed, self._speed = 0, False, 0.0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="answers", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Examples that no batch has taken yet."""
        return self._waiting

    def ask(self, examples: Sequence[Example]) -> Future[Sequence[Prediction]]:
        """The answers to come, in the order of the examples.

        Raises:
            FullError: there is no room.
            ClosedError: the queue is closed.
        """
        request = _Request(examples)
        with self._changed:
            if self._closed:
                raise ClosedError("the server ends")
            if self._waiting and self._waiting + len(examples) > self._room:
                raise FullError(max(1.0, self._waiting / self._speed if self._speed else 1.0))
            self._requests.append(request)
            self._waiting += len(examples)
            self._changed.notify_all()
        return request.future

    def replace(self, answer: Answer) -> None:
        """Another model for all batches that are not taken yet."""
        with self._changed:
            self._answer = answer

    def close(self, seconds: float) -> bool:
        """Takes nothing more, and whether all that was taken is answered within so many seconds."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while True:
            requests, answer = self._take()
            if answer is None:
                return
            examples = [example for request in requests for example in request.examples]
            began = time.perf_counter()
            try:
                found = answer(examples)
            except Exception as error:  # whatever it is, it is the clients' to know and not the thread's end
                logger.exception("a batch of %d questions was not answered", len(examples))
                for request in requests:
                    request.future.set_exception(error)
                continue
            speed = len(examples) / max(1e-6, time.perf_counter() - began)
            self._speed = speed if not self._speed else 0.9 * self._speed + 0.1 * speed
            start = 0
            for request in requests:
                request.future.set_result(found[start : start + len(request.examples)])
                start += len(request.examples)

    def _take(self) -> tuple[list[_Request], Optional[Answer]]:
        """The next requests and what answers them; None for the answer when the queue is closed and empty."""
        with self._changed:
            while not self._requests:
                if self._closed:
                    return [], None
                self._changed.wait()
            if self._waiting < self._batch and self._wait and not self._closed:
                self._changed.wait_for(lambda: self._waiting >= self._batch or self._closed, self._wait)
            taken: list[_Request] = []
            size = 0
            while self._requests and (not taken or size + len(self._requests[0].examples) <= self._batch):
                request = self._requests.popleft()
                size += len(request.examples)
                if request.future.set_running_or_notify_cancel():  # a client that has gone asks no more
                    taken.append(request)
                else:
                    self._waiting -= len(request.examples)
            self._waiting -= sum(len(request.examples) for request in taken)
            return taken, self._answer if taken else _nothing


def _nothing(examples: Sequence[Example]) -> Sequence[Prediction]:
    return []
