"""Intervals, confusion matrices and worst answers, by hand and against scikit-learn."""

from __future__ import annotations

import math
from typing import Callable

import numpy as np
import pytest
from sklearn import metrics as sklearn

from ernie_tiny.data.task import Answer, Example, Prediction, TaskSpec
from ernie_tiny.evaluation.metrics import scorer
from ernie_tiny.evaluation.statistics import (
    confidence_intervals,
    mean_and_deviation,
    paired_interval,
)
from ernie_tiny.kinds.classification import confusion_matrix
from ernie_tiny.kinds.registry import kind_named

BINARY = TaskSpec("toy", "classification", files={}, labels=("no", "yes"))
READING = TaskSpec("toy", "reading", files={})


def examples(labels: np.ndarray) -> list[Example]:
    return [Example(str(number), ("x",), int(label)) for number, label in enumerate(labels)]


def predictions(spec: TaskSpec, answers: np.ndarray) -> list[Prediction]:
    return [Prediction(str(number), spec.labels[answer]) for number, answer in enumerate(answers)]


def reading(*texts: str) -> list[Example]:
    return [Example(f"q{number}", ("谁？", "文"), answers=(Answer(text, 0),)) for number, text in enumerate(texts)]


def test_an_interval_of_accuracy_is_that_of_the_binomial_distribution() -> None:
    right = np.arange(400) < 300  # resampled: Binomial(400, 0.75) / 400, whose tails are at 0.7075 and 0.79
    scores_of = scorer(BINARY, examples(np.ones(400)), predictions(BINARY, right.astype(int)))
    (low, high) = confidence_intervals(scores_of, 400)["accuracy"]
    assert low == pytest.approx(70.75, abs=0.5) and high == pytest.approx(79.0, abs=0.5)
    assert confidence_intervals(scores_of, 400)["accuracy"] == (low, high)


def test_every_resample_is_scored_by_the_metric_itself() -> None:
    spec = TaskSpec("toy", "pair", files={}, labels=("no", "yes"), metric="matthews")
    draw = np.random.default_rng(3)
    truths, found = draw.integers(2, size=60), draw.integers(2, size=60)
    scores_of = scorer(spec, examples(truths), predictions(spec, found))
    again = np.random.default_rng(0)
    resamples = [again.integers(60, size=60) for _ in range(1000)]
    scores = [100 * sklearn.matthews_corrcoef(truths[each], found[each]) for each in resamples]
    ends = tuple(np.percentile(scores, (2.5, 97.5)))
    assert confidence_intervals(scores_of, 60)["matthews"] == pytest.approx(ends)


def test_reading_and_regression_have_intervals_around_their_scores() -> None:
    asked = reading(*["北京"] * 30)
    answers = [Prediction(f"q{number}", "北京" if number % 3 else "北") for number in range(30)]
    numbers = TaskSpec("toy", "regression", files={})
    draw = np.random.default_rng(5)
    truths = draw.normal(size=50)
    rated = [Example(str(number), ("x",), float(truth)) for number, truth in enumerate(truths)]
    guesses = [Prediction(str(number), str(truth + draw.normal())) for number, truth in enumerate(truths)]
    for spec, given, found in ((READING, asked, answers), (numbers, rated, guesses)):
        scores_of = scorer(spec, given, found)
        scores, ends = scores_of(np.arange(len(given))), confidence_intervals(scores_of, len(given))
        assert scores.keys() == ends.keys() and len(scores) == 2
        assert all(low < scores[name] < high for name, (low, high) in ends.items())


def test_an_answer_that_is_never_wrong_has_no_width() -> None:
    scores_of = scorer(BINARY, examples(np.ones(9)), predictions(BINARY, np.ones(9, dtype=int)))
    assert confidence_intervals(scores_of, 9) == {"accuracy": (100.0, 100.0)}


def test_confusion_matrix_is_scikit_learn_s() -> None:
    draw = np.random.default_rng(7)
    truths, found = draw.integers(5, size=200), draw.integers(4, size=200)  # the last label is never given
    expected = sklearn.confusion_matrix(truths, found, labels=range(5))
    assert np.array_equal(confusion_matrix(truths, found, 5), expected)
    assert confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist() == [[1, 1], [0, 1]]


def test_worst_answers_come_first_and_are_ten() -> None:
    asked = reading(*["北京"] * 12)
    texts = [*["北京"] * 5, *["北"] * 6, "上海"]
    answers = [Prediction(f"q{number}", text) for number, text in enumerate(texts)]
    given, scores_of = dict(zip((one.id for one in asked), texts)), scorer(READING, asked, answers)
    worst = kind_named("reading").details(READING, asked, given, scores_of)["worst"]
    assert worst[0] == {"id": "q11", "f1": 0.0, "question": "谁？", "prediction": "上海", "references": ["北京"]}
    assert [item["id"] for item in worst[1:7]] == [f"q{number}" for number in range(5, 11)]
    assert worst[1]["f1"] == pytest.approx(200 / 3) and len(worst) == 10


def test_mean_and_deviation_by_hand() -> None:
    assert mean_and_deviation([1.0, 2.0, 3.0]) == (2.0, 1.0)
    assert mean_and_deviation([4.0])[0] == 4.0 and math.isnan(mean_and_deviation([4.0])[1])


def test_a_paired_interval_leaves_out_what_is_hard_for_both() -> None:
    hard = np.arange(1000) % 2  # both are right on every second example, and the first on 40 more
    better = hard.copy()
    better[:80:2] = 1

    def rate(right: np.ndarray) -> Callable[[np.ndarray], float]:
        return lambda chosen: 100 * float(right[chosen].mean())

    low, high = paired_interval({"toy": [(rate(better), rate(hard))]}, {"toy": 1000})
    # the gain is Binomial(1000, 0.04) / 1000: 4 percent, standard error 0.62; unpaired its error would be 2.2
    assert (low, high) == pytest.approx((2.8, 5.2), abs=0.15)
    assert paired_interval({"toy": [(rate(hard), rate(hard))] * 3}, {"toy": 1000}) == (0.0, 0.0)


def test_a_paired_interval_holds_the_chance_of_the_seeds() -> None:
    def constant(value: float) -> Callable[[np.ndarray], float]:
        return lambda chosen: value

    gains = {"toy": [(constant(gain), constant(0.0)) for gain in (1.0, 2.0, 6.0)]}
    assert paired_interval(gains, {"toy": 10}) == pytest.approx((1.0, 6.0))  # thrice one seed: 1 of 27 each
    two = {"a": gains["toy"], "b": [(constant(0.0), constant(0.0))] * 3}
    assert paired_interval(two, {"a": 10, "b": 10}) == pytest.approx((0.5, 3.0))
