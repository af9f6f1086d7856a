"""Scores of predictions, worked out by hand and against scikit-learn and SciPy."""

from __future__ import annotations

import warnings
from typing import Optional

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn

from ernie_tiny.data.task import Answer, Example, Prediction, TaskSpec
from ernie_tiny.errors import InputError
from ernie_tiny.evaluation.metrics import agreement, scorer
from ernie_tiny.kinds.metrics import METRICS
from ernie_tiny.kinds.registry import kind_named

CLASSES = TaskSpec("toy", "classification", files={}, labels=("no", "yes"))
CHOICE = TaskSpec("toy", "multiple_choice", files={})
READING = TaskSpec("toy", "reading", files={})
F1 = TaskSpec("toy", "pair", files={}, labels=("no", "yes"), metric="f1")
MATTHEWS = TaskSpec("toy", "pair", files={}, labels=("no", "yes", "maybe"), metric="matthews")
NUMBERS = TaskSpec("toy", "regression", files={})


def examples(*labels: Optional[float]) -> list[Example]:
    return [Example(str(number), ("x",), label) for number, label in enumerate(labels)]


def predictions(*answers: str) -> list[Prediction]:
    return [Prediction(str(number), answer) for number, answer in enumerate(answers)]


def score(spec: TaskSpec, given: list[Example], found: list[Prediction]) -> dict[str, float]:
    return scorer(spec, given, found)(np.arange(len(given)))


def majority(spec: TaskSpec, given: list[Example]) -> float:
    found = kind_named(spec.kind).majority
    assert found is not None
    return found(spec, given)


def test_accuracy_of_labels_and_of_choices() -> None:
    assert score(CLASSES, examples(0, 1, 1, 0), predictions("no", "yes", "no", "yes")) == {"accuracy": 50.0}
    assert score(CHOICE, examples(0, 3, 1), predictions("0", "3", "2"))["accuracy"] == pytest.approx(200 / 3)


def test_predictions_may_come_in_any_order() -> None:
    assert score(CLASSES, examples(0, 1), predictions("no", "yes")[::-1]) == {"accuracy": 100.0}


def test_reading_takes_the_best_reference() -> None:
    example = Example("0", ("问", "文"), answers=(Answer("一九九八年", 0), Answer("一九九八", 0)))
    # Four of the five and four characters: F1 8/9 with the first, 1 with the second.
    assert score(READING, [example], predictions("一九九八")) == {"exact_match": 100.0, "f1": 100.0}
    worse = score(READING, [example], predictions("九八"))
    assert worse == pytest.approx({"exact_match": 0.0, "f1": 200 / 3})


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (predictions("no"), "1 missing, the first '1'"),
        (predictions("no", "no", "no"), "1 too many, the first '2'"),
        (predictions("no", "no") + predictions("no"), "1 too many, the first '0'"),
        ([], "2 missing, the first '0'"),
    ],
)
def test_every_example_is_answered_exactly_once(found: list[Prediction], message: str) -> None:
    with pytest.raises(InputError, match=f"toy: the predictions do not match the examples: {message}"):
        score(CLASSES, examples(0, 1), found)


def test_what_has_no_label_cannot_be_scored() -> None:
    with pytest.raises(InputError, match="toy: example '1' has no label"):
        score(CLASSES, examples(0, None), predictions("no", "no"))
    with pytest.raises(InputError, match="1 of 1 questions have no reference answer"):
        score(READING, examples(None), predictions("x"))
    with pytest.raises(InputError, match="no example"):
        score(CLASSES, [], [])


def test_majority_baseline() -> None:
    assert majority(CLASSES, examples(0, 1, 1, 1)) == 75.0
    assert majority(CHOICE, examples(2, 2, 0, 1, 3)) == 40.0
    for kind in ("reading", "labelling", "regression"):
        assert kind_named(kind).majority is None


def test_the_majority_is_scored_by_the_tasks_metric() -> None:
    assert majority(MATTHEWS, examples(0, 1, 1, 2)) == 0.0
    assert majority(F1, examples(0, 1, 1, 1)) == pytest.approx(100 * 6 / 7)
    assert majority(F1, examples(0, 0, 0, 1)) == 0.0


def test_a_tasks_metric_stands_beside_accuracy() -> None:
    # Of two "yes" one is found, and one "no" is taken for "yes": precision and recall are a half.
    found = score(F1, examples(1, 1, 0, 0), predictions("yes", "no", "yes", "no"))
    assert found == {"accuracy": 50.0, "f1": 50.0}
    assert set(score(MATTHEWS, examples(0, 1, 2), predictions("no", "yes", "yes"))) == {"accuracy", "matthews"}


def test_correlations_of_numbers() -> None:
    found = score(NUMBERS, examples(0.0, 1.0, 4.0), predictions("0.5", "0.75", "20"))
    assert found["spearman"] == pytest.approx(100.0)
    assert found["pearson"] == pytest.approx(100 * np.corrcoef([0, 1, 4], [0.5, 0.75, 20])[0, 1])


@pytest.mark.parametrize("seed", range(20))
def test_metrics_of_classes_equal_those_of_scikit_learn(seed: int) -> None:
    random = np.random.default_rng(seed)
    truths, found = random.integers(0, 4, (2, 50)) * (random.random((2, 50)) < 0.6)
    assert METRICS["matthews"](truths, found) == pytest.approx(sklearn.matthews_corrcoef(truths, found))
    assert METRICS["accuracy"](truths, found) == pytest.approx(sklearn.accuracy_score(truths, found))
    truths, found = (truths > 0).astype(int), (found > 0).astype(int)
    assert METRICS["f1"](truths, found) == pytest.approx(sklearn.f1_score(truths, found))
    assert METRICS["matthews"](truths, found) == pytest.approx(sklearn.matthews_corrcoef(truths, found))


@pytest.mark.parametrize("found", [[0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0]])
@pytest.mark.parametrize("truths", [[0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 1, 0]])
def test_metrics_of_one_class_alone_equal_those_of_scikit_learn(truths: list[int], found: list[int]) -> None:
    arrays = np.array(truths), np.array(found)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of a single class
        assert METRICS["matthews"](*arrays) == pytest.approx(sklearn.matthews_corrcoef(truths, found))
        assert METRICS["f1"](*arrays) == pytest.approx(sklearn.f1_score(truths, found, zero_division=0))


def test_matthews_of_many_examples_does_not_overflow() -> None:
    truths = np.tile([0, 0, 0, 1], 250_000)
    found = np.tile([0, 0, 1, 1], 250_000)
    assert METRICS["matthews"](truths, found) == pytest.approx(1 / np.sqrt(3))


@pytest.mark.parametrize("seed", range(5))
def test_correlations_equal_those_of_scipy(seed: int) -> None:
    truths, found = np.random.default_rng(seed).integers(0, 9, (2, 40)) / 2  # with ties
    assert METRICS["pearson"](truths, found) == pytest.approx(stats.pearsonr(truths, found).statistic)
    assert METRICS["spearman"](truths, found) == pytest.approx(stats.spearmanr(truths, found).statistic)


@pytest.mark.parametrize("name", ["pearson", "spearman"])
def test_a_constant_correlates_with_nothing(name: str) -> None:
    assert METRICS[name](np.array([1.0, 2.0]), np.array([3.0, 3.0])) == 0.0


def test_agreement() -> None:
    assert agreement(CLASSES, predictions("a", "b", "c", "d"), predictions("a", "b", "x", "d")) == 75.0
    assert agreement(CLASSES, predictions("a", "b"), predictions("a", "b")[::-1]) == 100.0
    assert agreement(NUMBERS, predictions("1", "2", "4"), predictions("10", "20", "40")) == pytest.approx(100.0)
    with pytest.raises(InputError, match="agreement: .* 1 missing, the first '1'"):
        agreement(CLASSES, predictions("a", "b"), predictions("a"))
