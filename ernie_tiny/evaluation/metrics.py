"""Scores of predictions, in percent, as their task's kind takes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ernie_tiny.data.task import Example, Prediction, TaskSpec
from ernie_tiny.errors import InputError
from ernie_tiny.kinds.kind import ScoresOf
from ernie_tiny.kinds.registry import kind_named


def score(spec: TaskSpec, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, float]:
    """{"accuracy"} of classes and choices, and the task's metric; both correlations of regression; {"exact_match",
    "f1"} of reading. In percent, a correlation times 100.

    Raises:
        InputError: Not every example is answered exactly once, or one has no label or reference answer.
    """
    return scorer(spec, examples, predictions)(np.arange(len(examples)))


def scorer(spec: TaskSpec, examples: Sequence[Example], predictions: Sequence[Prediction]) -> ScoresOf:
    """Gives the scores, as `score` has them, of any choice among the examples; errors are those of `score`."""
    return kind_named(spec.kind).scorer(spec, examples, answers_to(spec, examples, predictions))


def details(
    spec: TaskSpec, examples: Sequence[Example], predictions: Sequence[Prediction], scores_of: ScoresOf
) -> dict[str, Any]:
    """What there is to show beside the scores, by name (Kind.details); errors are those of `score`."""
    return kind_named(spec.kind).details(spec, examples, answers_to(spec, examples, predictions), scores_of)


def by_type(spec: TaskSpec, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """The scores of each sort of thing that the task finds (Kind.by_type), none where it finds no such; errors are
    those of `score`."""
    found = kind_named(spec.kind).by_type
    return [] if found is None else found(spec, examples, answers_to(spec, examples, predictions))


def majority_baseline(spec: TaskSpec, examples: Sequence[Example]) -> float:
    """The task's metric, in percent, of always giving the most frequent label or index of a choice; 0 for regression
    and reading."""
    return kind_named(spec.kind).majority(spec, examples)


def agreement(spec: TaskSpec, first: Sequence[Prediction], second: Sequence[Prediction]) -> float:
    """Percent of the examples to which two models give the same answer; of regression their Pearson correlation.

    Raises:
        InputError: They did not answer the same examples, each exactly once.
    """
    names = [prediction.id for prediction in first]
    answers = _by_id("agreement: the second model's predictions", second, names)
    own = [prediction.answer for prediction in first]
    return kind_named(spec.kind).agreement(own, [answers[name] for name in names])


def answers_to(spec: TaskSpec, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Example id to answer, of every example; an InputError where not every one is answered exactly once."""
    return _by_id(f"{spec.name}: the predictions", predictions, [example.id for example in examples])


def _by_id(what: str, predictions: Sequence[Prediction], names: Sequence[str]) -> dict[str, Any]:
    """Id to answer, for exactly these ids."""
    found, due = Counter(prediction.id for prediction in predictions), Counter(names)
    if not due:
        raise InputError(f"{what}: there is no example to compare.")
    for fault, wrong in (("missing", due - found), ("too many", found - due)):
        if wrong:
            raise InputError(
                f"{what} do not match the examples: {sum(wrong.values())} {fault}, the first "
                f"{next(iter(wrong))!r}. Predict the split anew."
            )
    return {prediction.id: prediction.answer for prediction in predictions}
