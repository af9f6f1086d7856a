"""Scores of predictions, in percent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from types import MappingProxyType
from typing import Callable

import numpy as np
from scipy import stats

from ernie_tiny.data.task import Example, Prediction, TaskSpec
from ernie_tiny.errors import InputError
from ernie_tiny.evaluation.reading import question_scores

ScoresOf = Callable[[np.ndarray], dict[str, float]]  # indices of examples, one as often as it counts, to their scores


def score(spec: TaskSpec, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, float]:
    """{"accuracy"} of classes and choices, and the task's metric; both correlations of regression; {"exact_match",
    "f1"} of reading. In percent, a correlation times 100.

    Raises:
        InputError: Not every example is answered exactly once, or one has no label or reference answer.
    """
    return scorer(spec, examples, predictions)(np.arange(len(examples)))


def scorer(spec: TaskSpec, examples: Sequence[Example], predictions: Sequence[Prediction]) -> ScoresOf:
    """Gives the scores, as `score` has them, of any choice among the examples; errors are those of `score`."""
    if spec.head == "span":
        answers = _by_id(f"{spec.name}: the predictions", predictions, [example.id for example in examples])
        references = {example.id: [answer.text for answer in example.answers] for example in examples}
        by_metric = question_scores(answers, references, spec.scorer)
        each = {name: np.array(values) for name, values in by_metric.items()}
        return lambda chosen: {name: 100 * float(values[chosen].mean()) for name, values in each.items()}
    truths, found = labels_and_answers(spec, examples, predictions)
    names = ("pearson", "spearman") if spec.head == "regression" else dict.fromkeys(("accuracy", spec.metric))
    return lambda chosen: {name: 100 * METRICS[name](truths[chosen], found[chosen]) for name in names}


def labels_and_answers(
    spec: TaskSpec, examples: Sequence[Example], predictions: Sequence[Prediction]
) -> tuple[np.ndarray, np.ndarray]:
    """[examples] right and [examples] given: indices of labels or candidates, or numbers; errors as of `score`."""
    answers = _by_id(f"{spec.name}: the predictions", predictions, [example.id for example in examples])
    return _truths(spec, examples), np.array([_number(spec, answers[example.id]) for example in examples])


def accuracy(truths: np.ndarray, found: np.ndarray) -> float:
    """Part of the classes that were found, 0 to 1."""
    return float((truths == found).mean())


def f1(truths: np.ndarray, found: np.ndarray) -> float:
    """Harmonic mean of precision and recall of class 1 against class 0, 0 to 1; 0 where it is never found."""
    hits = np.sum((truths == 1) & (found == 1))
    return float(2 * hits / max(np.sum(truths == 1) + np.sum(found == 1), 1))


def matthews(truths: np.ndarray, found: np.ndarray) -> float:
    """Matthews correlation of two or more classes, -1 to 1 (Gorodkin 2004, R_K); 0 where one side is constant."""
    size = int(max(truths.max(), found.max())) + 1
    truth_counts, found_counts = np.bincount(truths, minlength=size), np.bincount(found, minlength=size)
    count = len(truths)
    covariance = np.sum(truths == found) * count - truth_counts @ found_counts
    variances = [count**2 - float(counts @ counts) for counts in (truth_counts, found_counts)]
    return float(covariance / np.sqrt(variances[0] * variances[1])) if all(variances) else 0.0


def pearson(truths: np.ndarray, found: np.ndarray) -> float:
    """Linear correlation, -1 to 1; 0 where one side is constant."""
    return float(stats.pearsonr(truths, found)[0]) if np.ptp(truths) and np.ptp(found) else 0.0


def spearman(truths: np.ndarray, found: np.ndarray) -> float:
    """Correlation of ranks, equal values sharing theirs, -1 to 1; 0 where one side is constant."""
    return float(stats.spearmanr(truths, found)[0]) if np.ptp(truths) and np.ptp(found) else 0.0


METRICS = MappingProxyType(
    {"accuracy": accuracy, "f1": f1, "matthews": matthews, "pearson": pearson, "spearman": spearman}
)


def majority_baseline(spec: TaskSpec, examples: Sequence[Example]) -> float:
    """The task's metric, in percent, of always giving the most frequent label or index of a choice; 0 for regression
    and reading."""
    if spec.head in ("span", "regression"):
        return 0.0
    truths = _truths(spec, examples)
    return 100 * METRICS[spec.metric](truths, np.full_like(truths, np.bincount(truths).argmax()))


def agreement(spec: TaskSpec, first: Sequence[Prediction], second: Sequence[Prediction]) -> float:
    """Percent of the examples to which two models give the same answer; of regression their Pearson correlation.

    Raises:
        InputError: They did not answer the same examples, each exactly once.
    """
    names = [prediction.id for prediction in first]
    answers = _by_id("agreement: the second model's predictions", second, names)
    if spec.head == "regression":
        numbers = [[_number(spec, prediction.answer), _number(spec, answers[prediction.id])] for prediction in first]
        return 100 * pearson(*np.transpose(numbers))
    return 100 * sum(answers[prediction.id] == prediction.answer for prediction in first) / len(first)


def _truths(spec: TaskSpec, examples: Sequence[Example]) -> np.ndarray:
    """The right answers: indices of labels or candidates, or numbers."""
    for example in examples:
        if example.label is None:
            raise InputError(f"{spec.name}: example {example.id!r} has no label. Score a split that has labels.")
    return np.array([example.label for example in examples])


def _number(spec: TaskSpec, answer: str) -> float:
    """A prediction's answer in the form that an example has its label."""
    if spec.head == "classification":
        return spec.labels.index(answer)
    return float(answer) if spec.head == "regression" else int(answer)


def _by_id(what: str, predictions: Sequence[Prediction], names: Sequence[str]) -> dict[str, str]:
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
