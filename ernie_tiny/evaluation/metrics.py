"""Scores of predictions, in percent, as their task's kind takes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ernie_tiny.data.task import Example, Prediction, TaskSpec
from ernie_tiny.errors import InputError
from ernie_tiny.kinds.kind import ScoresOf
from ernie_tiny.kinds.registry import kind_named


def scorer(spec: TaskSpec, examples: Sequence[Example], predictions: Sequence[Prediction]) -> ScoresOf:
    """Gives the scores of any choice among the examples, in percent by metric, as the kind takes them (Kind.scorer).

    Raises:
        InputError: Not every example is answered exactly once, or one has no label or reference answer.
    """
    names = [example.id for example in examples]
    answers = _by_id(f"{spec.name}: the predictions", predictions, names)
    return kind_named(spec.kind).scorer(spec, examples, answers)


def agreement(spec: TaskSpec, first: Sequence[Prediction], second: Sequence[Prediction]) -> float:
    """Percent of the examples to which two models give the same answer; of regression their Pearson correlation.

    Raises:
        InputError: They did not answer the same examples, each exactly once.
    """
    names = [prediction.id for prediction in first]
    answers = _by_id("agreement: the second model's predictions", second, names)
    own = [prediction.answer for prediction in first]
    return kind_named(spec.kind).agreement(own, [answers[name] for name in names])


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
