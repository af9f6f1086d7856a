"""The hard loss beside examples without labels, against numbers by hand."""

from __future__ import annotations

import dataclasses
from math import exp, log

import numpy as np
import paddle
import pytest

from ernie_tiny.batch import NO_LABEL, UNKNOWN, Batch
from ernie_tiny.config.schema import HardTerm, ObjectiveConfig
from ernie_tiny.distill.objective import Objective
from ernie_tiny.distill.terms import Side
from ernie_tiny.kinds.registry import kind_named
from ernie_tiny.models.signals import Signals

NAN = float("nan")


def batch_of(labels: object, rows: int, length: int, **changes: object) -> Batch:
    ids = np.ones((rows, length), np.int64)
    array = None if labels is None else np.array(labels)
    features = rows if array is None else len(array)
    batch = Batch("toy", tuple("abcd"[:features]), ids, np.zeros_like(ids), np.ones_like(ids), array)
    return dataclasses.replace(batch, **changes)


def hard(kind: str, logits: list, batch: Batch) -> tuple[float, int, np.ndarray]:
    """The loss, what it counts and the gradient of the logits."""
    objective = Objective(ObjectiveConfig(hard=HardTerm()), Side(1, 1, 4), kinds={"toy": kind_named(kind)})
    tensor = paddle.to_tensor(np.array(logits, np.float32), stop_gradient=False)
    loss, terms = objective(Signals(paddle.to_tensor(batch.attention_mask), tensor), None, batch)
    loss.backward()
    assert float(loss) == float(terms["hard"])
    return float(loss), objective.counts(batch)["hard"], tensor.grad.numpy()


def test_classes() -> None:
    """Of four examples two have a label: log(1 + e) for the logits 0, 1 and class 0, and log(1 + e^-2) for 2, 0."""
    logits = [[0, 1], [7, -9], [2, 0], [50, 60]]
    loss, count, gradient = hard("classification", logits, batch_of([0, UNKNOWN, 0, UNKNOWN], 4, 3))
    assert loss == pytest.approx((log(1 + exp(1)) + log(1 + exp(-2))) / 2, rel=1e-6) and count == 2
    assert gradient[[1, 3]].tolist() == [[0, 0], [0, 0]]
    assert gradient[0, 0] == pytest.approx(-(1 - 1 / (1 + exp(1))) / 2, rel=1e-6)


def test_numbers() -> None:
    """(1 - 3)² and (-100 + 99)²: a number may be what marks a missing class."""
    batch = batch_of(np.array([3, NAN, -100], np.float32), 3, 2)
    loss, count, gradient = hard("regression", [[1], [5], [-99]], batch)
    assert (loss, count) == (2.5, 2)
    assert gradient.ravel().tolist() == [-2, 0, 1]


def test_choices() -> None:
    """The labelled example has two candidates of logits 0 and 1; the third of the table is missing."""
    choices = np.array([[1, 1, 0], [1, 1, 1]])
    batch = batch_of([1, UNKNOWN], 6, 2, num_choices=3, choice_mask=choices)
    loss, count, _ = hard("multiple_choice", [[0, 1, -10_000], [3, 1, 2]], batch)
    assert loss == pytest.approx(log(1 + exp(-1)), rel=1e-6) and count == 1


def test_spans() -> None:
    """The labelled window's ends: log(1 + e) and log 2."""
    logits = [[[9, 0], [0, 8]], [[0, 1], [0, 0]], [[3, 3], [5, 1]]]
    loss, count, gradient = hard("reading", logits, batch_of([[UNKNOWN] * 2, [0, 1], [UNKNOWN] * 2], 3, 2))
    assert loss == pytest.approx((log(1 + exp(1)) + log(2)) / 2, rel=1e-6) and count == 1
    assert not gradient[[0, 2]].any()


def test_tags() -> None:
    """Of the first text the second token has a tag, of logits 0 and 1; the other text's tokens have none."""
    logits = [[[5, 0, 5], [5, 1, 5]], [[1, 2, 3], [4, 5, 6]]]
    batch = batch_of([[NO_LABEL, 0, NO_LABEL], [NO_LABEL, UNKNOWN, UNKNOWN]], 2, 3)
    loss, count, gradient = hard("labelling", logits, batch)
    assert loss == pytest.approx(log(1 + exp(1)), rel=1e-6) and count == 1
    assert not gradient[1].any() and not gradient[0][:, [0, 2]].any()


@pytest.mark.parametrize("labels", [None, [UNKNOWN, UNKNOWN]])
def test_without_a_labelled_example_it_is_nothing(labels: object) -> None:
    loss, count, gradient = hard("classification", [[0, 1], [1, 0]], batch_of(labels, 2, 2))
    assert (loss, count) == (0, 0) and not gradient.any()


def test_labelled_examples_alone_weigh_what_they_did_to_the_bit() -> None:
    """Beside others the mean is that of the labelled ones by themselves."""
    logits = np.random.default_rng(3).normal(size=(4, 3)).tolist()
    alone = hard("classification", logits[:2], batch_of([2, 1], 2, 3))
    beside = hard("classification", logits, batch_of([2, 1, UNKNOWN, UNKNOWN], 4, 3))
    assert alone[:2] == beside[:2]
