"""What a lower precision costs: scores of the same examples before and after, with a paired interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ernie_tiny.data.task import Example, Prediction, TaskSpec
from ernie_tiny.errors import InputError
from ernie_tiny.evaluation.metrics import scorer
from ernie_tiny.evaluation.statistics import ScoreOf, paired_interval


@dataclass(frozen=True)
class Loss:
    """Points of the task's metric, in percent, that a model loses.

    Attributes:
        metric: The task's.
        before, after: Scores.
        low, high: Ends of the 95 % interval of before - after, both scored on the same draws of the examples.
        examples: Their number.
    """

    metric: str
    before: float
    after: float
    low: float
    high: float
    examples: int

    @property
    def points(self) -> float:
        """before - after."""
        return self.before - self.after

    def __str__(self) -> str:
        return (
            f"{self.metric} {self.before:.2f} before, {self.after:.2f} after: {self.points:.2f} lost "
            f"[{self.low:.2f}, {self.high:.2f}] on {self.examples:,} examples"
        )


def loss_of(
    spec: TaskSpec, examples: Sequence[Example], before: Sequence[Prediction], after: Sequence[Prediction]
) -> Loss:
    """The loss of one model's predictions against another's; errors are those of `scorer`."""
    own, other = (_metric_of(spec, examples, predictions) for predictions in (before, after))
    low, high = paired_interval({spec.name: [(own, other)]}, {spec.name: len(examples)})
    everything = np.arange(len(examples))
    return Loss(spec.metric, own(everything), other(everything), low, high, len(examples))


def _metric_of(spec: TaskSpec, examples: Sequence[Example], predictions: Sequence[Prediction]) -> ScoreOf:
    scores_of = scorer(spec, examples, predictions)
    return lambda chosen: scores_of(chosen)[spec.metric]


def require_at_most(loss: Loss, bound: float, what: str) -> None:
    """Raises an InputError where more points are lost than may be."""
    if not loss.points <= bound:
        raise InputError(
            f"{what}: {loss}; at most {bound:g} may be lost, so nothing was written. Allow more, take a higher "
            "precision, or train the student on."
        )
