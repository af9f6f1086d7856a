"""Scores of predictions, in percent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ernie_tiny.data.task import Example, Prediction, TaskSpec
from ernie_tiny.errors import InputError
from ernie_tiny.evaluation.reading import cmrc_scores


def score(spec: TaskSpec, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, float]:
    """{"accuracy"} of classes and choices, {"exact_match", "f1"} of reading.

    Raises:
        InputError: Not every example is answered exactly once, or one has no label or reference answer.
    """
    answers = _by_id(f"{spec.name}: the predictions", predictions, [example.id for example in examples])
    if spec.head == "span":
        references = {example.id: [answer.text for answer in example.answers] for example in examples}
        return cmrc_scores(answers, references)
    return {"accuracy": _percent([answers[example.id] == _truth(spec, example) for example in examples])}


def majority_baseline(spec: TaskSpec, examples: Sequence[Example]) -> float:
    """Accuracy of always giving the most frequent label, or index of a choice; 0 for reading."""
    if spec.head == "span":
        return 0.0
    truths = [_truth(spec, example) for example in examples]
    most_frequent = max(Counter(truths).values(), default=0)
    return 100 * most_frequent / max(len(truths), 1)


def agreement(first: Sequence[Prediction], second: Sequence[Prediction]) -> float:
    """Percent of the examples to which two models give the same answer.

    Raises:
        InputError: They did not answer the same examples, each exactly once.
    """
    names = [prediction.id for prediction in first]
    answers = _by_id("agreement: the second model's predictions", second, names)
    return _percent([answers[prediction.id] == prediction.answer for prediction in first])


def _truth(spec: TaskSpec, example: Example) -> str:
    """The right answer in the form that a Prediction has it."""
    if example.label is None:
        raise InputError(f"{spec.name}: example {example.id!r} has no label. Score a split that has labels.")
    return spec.labels[example.label] if spec.head == "classification" else str(example.label)


def _by_id(what: str, predictions: Sequence[Prediction], names: Sequence[str]) -> dict[str, str]:
    """Id to answer, for exactly these ids."""
    found, due = Counter(prediction.id for prediction in predictions), Counter(names)
    if not due:
        raise InputError(f"{what}: there is no example to compare.")
    for fault, wrong in (("missing", due - found), ("too many", found - due)):
        if wrong:
            raise InputError(f"{what} do not match the examples: {sum(wrong.values())} {fault}, the first "
                             f"{next(iter(wrong))!r}. Predict the split anew.")
    return {prediction.id: prediction.answer for prediction in predictions}


def _percent(hits: Sequence[bool]) -> float:
    return 100 * sum(hits) / len(hits)
