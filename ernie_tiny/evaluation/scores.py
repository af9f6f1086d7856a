"""A model's answers to the examples of a split, and what they score: whoever asks takes them here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ernie_tiny.batch import Feature
from ernie_tiny.data.task import Example, Prediction, TaskSpec
from ernie_tiny.evaluation.metrics import agreement, scorer
from ernie_tiny.evaluation.predict import predict
from ernie_tiny.evaluation.statistics import confidence_intervals
from ernie_tiny.kinds.kind import ScoresOf
from ernie_tiny.kinds.registry import kind_named
from ernie_tiny.models.multitask import MultiTaskModel


@dataclass(frozen=True)
class Scores:
    """What one model's predictions of one task score.

    Attributes:
        spec: The task.
        examples: With their labels.
        predictions: In the order of the examples.
        values: Metric to percent.
        scores_of: The same of any choice among the examples.
    """

    spec: TaskSpec
    examples: Sequence[Example]
    predictions: Sequence[Prediction]
    values: Mapping[str, float]
    scores_of: ScoresOf

    @property
    def main(self) -> float:
        """The task's metric, in percent."""
        return self.values[self.spec.metric]

    def intervals(self) -> dict[str, tuple[float, float]]:
        """Metric to the ends of its 95 % bootstrap interval, in percent."""
        return confidence_intervals(self.scores_of, len(self.examples))

    def details(self) -> dict[str, Any]:
        """What there is to show beside the scores, by name (Kind.details), and what is broken, where anything is."""
        found = kind_named(self.spec.kind).details(self.spec, self.examples, self._answers, self.scores_of)
        return {**found, "broken": self.broken} if self.broken else found

    @property
    def broken(self) -> int:
        """How much that was most probable is no answer by the form of the kind (Prediction.broken)."""
        return sum(prediction.broken for prediction in self.predictions)

    def by_type(self) -> list[dict[str, Any]]:
        """The scores of each sort of thing that the task finds (Kind.by_type), none where it finds no such."""
        found = kind_named(self.spec.kind).by_type
        return [] if found is None else found(self.spec, self.examples, self._answers)

    @property
    def _answers(self) -> dict[str, Any]:
        return {prediction.id: prediction.answer for prediction in self.predictions}

    def agreement(self, other: Scores) -> float:
        """Percent of the examples to which two models give the same answer (ernie_tiny.evaluation.metrics)."""
        return agreement(self.spec, self.predictions, other.predictions)


def score_model(
    model: MultiTaskModel,
    spec: TaskSpec,
    examples: Sequence[Example],
    features: Sequence[Feature],
    pad_id: int,
    batch_tokens: int = 8192,
) -> Scores:
    """The scores of a model on labelled examples; every process of a launch calls it, and has them all.

    Args:
        features: The examples' features.
        batch_tokens: Padded tokens of a batch. It changes speed and memory, not the answers.
    Raises:
        InputError: an example has no label or reference answer.
    """
    predictions = predict(model, spec, examples, features, pad_id, batch_tokens)
    of_choice = scorer(spec, examples, predictions)
    return Scores(spec, examples, predictions, of_choice(np.arange(len(examples))), of_choice)
