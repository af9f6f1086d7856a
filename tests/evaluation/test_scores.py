"""Scores are taken in one place: they are those of the predictions, of whichever choice of the examples."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ernie_tiny.data.clue import find_task
from ernie_tiny.errors import InputError
from ernie_tiny.evaluation.metrics import scorer
from ernie_tiny.evaluation.predict import predict
from ernie_tiny.evaluation.scores import Scores, score_model
from ernie_tiny.evaluation.statistics import confidence_intervals
from ernie_tiny.kinds.ask import featurise
from tests.serving.test_export import EXAMPLES, TOKENIZER, build

SPEC = find_task("tnews")
LABELLED = [dataclasses.replace(example, label=number % 3) for number, example in enumerate(EXAMPLES["tnews"])]
FEATURES = featurise(SPEC, LABELLED, TOKENIZER, 24)


@pytest.fixture(scope="module")
def scores() -> Scores:
    return score_model(build("tnews"), SPEC, LABELLED, FEATURES, TOKENIZER.pad_id)


def test_they_are_those_of_the_models_predictions(scores: Scores) -> None:
    predictions = predict(build("tnews"), SPEC, LABELLED, FEATURES, TOKENIZER.pad_id)
    assert list(scores.predictions) == predictions
    assert dict(scores.values) == scorer(SPEC, LABELLED, predictions)(np.arange(len(LABELLED)))
    right = [one.answer == SPEC.labels[int(example.label or 0)] for one, example in zip(predictions, LABELLED)]
    assert scores.main == scores.values["accuracy"] == pytest.approx(100 * np.mean(right))
    assert scores.scores_of(np.array([0, 0]))["accuracy"] == 100 * right[0]


def test_intervals_details_and_agreement_are_of_the_same_answers(scores: Scores) -> None:
    assert scores.intervals() == confidence_intervals(scores.scores_of, len(LABELLED))
    assert scores.agreement(scores) == 100 and scores.broken == 0 and scores.by_type() == []
    counts = np.array(scores.details()["confusion"]["counts"])
    assert counts.sum() == len(LABELLED) and counts.trace() == round(scores.main / 100 * len(LABELLED))


def test_an_example_without_a_label_is_refused() -> None:
    unlabelled = [*LABELLED[:-1], dataclasses.replace(LABELLED[-1], label=None)]
    with pytest.raises(InputError, match="has no label"):
        score_model(build("tnews"), SPEC, unlabelled, FEATURES, TOKENIZER.pad_id)
