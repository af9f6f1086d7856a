"""Requests of many clients: answered whole, each with its own answers, several in a batch."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from ernie_tiny.data.task import Example, Prediction
from ernie_tiny.errors import InputError
from ernie_tiny.serving.queue import BatchQueue, ClosedError, FullError


class Model:
    """Answers each example with its text, when it may."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.may_answer, self.asked = threading.Event(), threading.Event()
        self.may_answer.set()

    def __call__(self, examples: Sequence[Example]) -> list[Prediction]:
        self.asked.set()
        assert self.may_answer.wait(10)
        self.batches.append([example.texts[0] for example in examples])
        if "bad" in self.batches[-1]:
            raise ValueError("bad text")
        return [Prediction(example.id, example.texts[0]) for example in examples]


def questions(*texts: str) -> list[Example]:
    return [Example("0", (text,)) for text in texts]


def answers(future: Any) -> list[str]:
    return [one.answer for one in future.result(timeout=10)]


def queue(model: Model, batch: int = 4, room: int = 8, wait: float = 0.0) -> BatchQueue:
    return BatchQueue(model, batch, room, wait)


def busy(model: Model, waiting: BatchQueue) -> Any:
    """The thread in a batch that it may not end yet."""
    model.may_answer.clear()
    first = waiting.ask(questions("first"))
    assert model.asked.wait(10)
    return first


def test_each_request_has_its_own_answers_and_what_waits_is_answered_together() -> None:
    model = Model()
    waiting = queue(model)
    first = busy(model, waiting)
    others = [waiting.ask(questions("a")), waiting.ask(questions("b", "c")), waiting.ask(questions("d", "e"))]
    assert waiting.waiting == 5
    model.may_answer.set()
    assert answers(first) == ["first"] and [answers(one) for one in others] == [["a"], ["b", "c"], ["d", "e"]]
    assert model.batches == [["first"], ["a", "b", "c"], ["d", "e"]]  # a request is not split


def test_a_lone_question_waits_for_others_but_not_long() -> None:
    model = Model()
    waiting = queue(model, batch=2, wait=5.0)
    pair = [waiting.ask(questions(text)) for text in ("a", "b")]
    assert [answers(one) for one in pair] == [["a"], ["b"]] and model.batches == [["a", "b"]]
    assert answers(queue(model, wait=0.01).ask(questions("alone"))) == ["alone"]


def test_a_larger_request_is_a_batch_by_itself() -> None:
    model = Model()
    assert answers(queue(model).ask(questions(*"abcdef"))) == list("abcdef")
    assert model.batches == [list("abcdef")]


def test_more_than_there_is_room_for_is_refused_and_what_waits_is_not_lost() -> None:
    model = Model()
    waiting = queue(model, room=3)
    first = busy(model, waiting)
    second = waiting.ask(questions("a", "b"))
    with pytest.raises(FullError, match="too many questions wait; try again in 1 s"):
        waiting.ask(questions("c", "d"))
    third = waiting.ask(questions("c"))
    model.may_answer.set()
    assert [answers(one) for one in (first, second, third)] == [["first"], ["a", "b"], ["c"]]


def test_an_error_is_the_batches_own_and_the_thread_goes_on() -> None:
    model = Model()
    waiting = queue(model)
    with pytest.raises(ValueError, match="bad text"):
        waiting.ask(questions("bad")).result(timeout=10)
    assert answers(waiting.ask(questions("good"))) == ["good"]


def test_the_log_has_the_class_of_an_error_and_neither_its_text_nor_a_clients_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    faults = iter((InputError("公园"), KeyError("公园")))

    def broken(_: Sequence[Example]) -> list[Prediction]:
        raise next(faults)

    waiting = BatchQueue(broken, batch=1, room=1, wait=0.0)
    for kind in (InputError, KeyError):
        with pytest.raises(kind, match="公园"):
            waiting.ask(questions("公园")).result(timeout=10)
    assert [record.getMessage() for record in caplog.records] == ["a request of 1 questions was not answered: KeyError"]
    assert "公园" not in caplog.text


def test_a_bad_question_is_not_the_fault_of_those_in_its_batch() -> None:
    model = Model()
    waiting = queue(model)
    first = busy(model, waiting)
    before, bad, behind = (waiting.ask(questions(text)) for text in ("a", "bad", "b"))
    model.may_answer.set()
    assert [answers(one) for one in (first, before, behind)] == [["first"], ["a"], ["b"]]
    with pytest.raises(ValueError, match="bad text"):
        bad.result(timeout=10)
    assert model.batches == [["first"], ["a", "bad", "b"], ["a"], ["bad"], ["b"]]


def test_what_a_client_gave_up_is_not_answered() -> None:
    model = Model()
    waiting = queue(model)
    first = busy(model, waiting)
    gone, kept = waiting.ask(questions("gone")), waiting.ask(questions("kept"))
    assert gone.cancel()
    model.may_answer.set()
    assert answers(first) == ["first"] and answers(kept) == ["kept"]
    assert model.batches == [["first"], ["kept"]] and waiting.waiting == 0


def test_closing_answers_what_was_taken_and_takes_nothing_more() -> None:
    model = Model()
    waiting = queue(model)
    first, second = busy(model, waiting), waiting.ask(questions("a"))
    assert not waiting.close(0.01)  # it is not done
    with pytest.raises(ClosedError):
        waiting.ask(questions("b"))
    model.may_answer.set()
    assert waiting.close(10) and answers(first) == ["first"] and answers(second) == ["a"]


def test_another_model_takes_over_without_losing_a_request() -> None:
    old, new = Model(), Model()
    waiting = queue(old)
    first, second = busy(old, waiting), waiting.ask(questions("a"))
    waiting.replace(new)
    old.may_answer.set()
    assert answers(first) == ["first"] and answers(second) == ["a"]
    assert (old.batches, new.batches) == ([["first"]], [["a"]])


def test_a_full_batch_is_begun_while_another_is_answered_and_less_waits_for_more() -> None:
    class Slow(Model):
        def __call__(self, examples: Sequence[Example]) -> list[Prediction]:
            begun.append([example.texts[0] for example in examples])
            return super().__call__(examples)

    model, begun = Slow(), list[list[str]]()
    waiting = BatchQueue(model, batch=2, room=8, wait=0.0, threads=2)
    first = busy(model, waiting)
    half = waiting.ask(questions("a"))
    assert waiting.waiting == 1 and begun == [["first"]]
    full = waiting.ask(questions("b"))
    for _ in range(1000):
        if len(begun) == 2:
            break
        time.sleep(0.01)
    assert begun == [["first"], ["a", "b"]]
    model.may_answer.set()
    assert [answers(one) for one in (first, half, full)] == [["first"], ["a"], ["b"]]
    assert waiting.close(10)
