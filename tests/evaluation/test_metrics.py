"""Scores of predictions, worked out by hand."""

from __future__ import annotations

from typing import Optional

import pytest

from ernie_tiny.data.task import Answer, Example, Prediction, TaskSpec
from ernie_tiny.errors import InputError
from ernie_tiny.evaluation.metrics import agreement, majority_baseline, score

CLASSES = TaskSpec("toy", "classification", files={}, labels=("no", "yes"))
CHOICE = TaskSpec("toy", "multiple_choice", files={})
READING = TaskSpec("toy", "reading", files={})


def examples(*labels: Optional[int]) -> list[Example]:
    return [Example(str(number), ("x",), label) for number, label in enumerate(labels)]


def predictions(*answers: str) -> list[Prediction]:
    return [Prediction(str(number), answer) for number, answer in enumerate(answers)]


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


@pytest.mark.parametrize(("found", "message"), [
    (predictions("no"), "1 missing, the first '1'"),
    (predictions("no", "no", "no"), "1 too many, the first '2'"),
    (predictions("no", "no") + predictions("no"), "1 too many, the first '0'"),
    ([], "2 missing, the first '0'"),
])
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
    assert majority_baseline(CLASSES, examples(0, 1, 1, 1)) == 75.0
    assert majority_baseline(CHOICE, examples(2, 2, 0, 1, 3)) == 40.0
    assert majority_baseline(READING, examples(None)) == 0.0


def test_agreement() -> None:
    assert agreement(predictions("a", "b", "c", "d"), predictions("a", "b", "x", "d")) == 75.0
    assert agreement(predictions("a", "b"), predictions("a", "b")[::-1]) == 100.0
    with pytest.raises(InputError, match="agreement: .* 1 missing, the first '1'"):
        agreement(predictions("a", "b"), predictions("a"))
