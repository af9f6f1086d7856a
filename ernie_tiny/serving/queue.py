"""Questions of many clients, answered together: a model's threads take what has come in and answer it at once."""

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
from ernie_tiny.errors import InputError

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

    A request waits for others while a batch is answered, and at most `wait` seconds more where fewer than `batch`
    examples have come. A full batch does not wait: another thread begins with it, so that one is tokenised while the
    engine has the other.

    Args:
        answer: Called by the threads, and may be changed by `replace`.
        batch: Examples that are answered together; a larger request is one batch by itself.
        room: Examples that may wait.
        wait: Seconds that an idle thread waits for more than it has.
        threads: That answer.
    """

    def __init__(self, answer: Answer, batch: int, room: int, wait: float, threads: int = 1) -> None:
        self._answer, self._batch, self._room, self._wait = answer, batch, room, wait
        self._requests: deque[_Request] = deque()
        self._waiting, self._busy, self._closed = 0, 0, False
        self._speed, self._done_at = 0.0, 0.0
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._work, name="answers", daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

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
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        while True:
            requests, answer = self._take()
            if answer is None:
                return
            if requests:  # not those that another thread has taken, or whose clients have gone
                self._fulfil(requests, answer)
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    def _fulfil(self, requests: Sequence[_Request], answer: Answer) -> None:
        """Answers requests in one batch; if it fails, each by itself, so that one client's fault is no other's."""
        examples = [example for request in requests for example in request.examples]
        began = time.perf_counter()
        try:
            found = answer(examples)
        except Exception as error:  # whatever it is, it is the client's to know and not the thread's end
            if len(requests) > 1:
                for request in requests:
                    self._fulfil([request], answer)
                return
            if not isinstance(error, InputError):  # a client's fault; else the class alone: what it says may be a text
                logger.error("a request of %d questions was not answered: %s", len(examples), type(error).__name__)
            requests[0].future.set_exception(error)
            return
        now = time.perf_counter()
        speed = len(examples) / max(1e-6, now - max(began, self._done_at))  # batches overlap
        self._done_at, self._speed = now, speed if not self._speed else 0.9 * self._speed + 0.1 * speed
        start = 0
        for request in requests:
            request.future.set_result(found[start : start + len(request.examples)])
            start += len(request.examples)

    def _take(self) -> tuple[list[_Request], Optional[Answer]]:
        """The next requests and what answers them; None for the answer when the queue is closed and empty."""
        with self._changed:
            while not self._requests or (self._busy and self._waiting < self._batch):
                if self._closed and not self._requests:
                    return [], None
                self._changed.wait()
            self._busy += 1
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
            return taken, self._answer
