"""How sure a score is, and where a model goes wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ernie_tiny.data.task import Example, Prediction
from ernie_tiny.evaluation.metrics import ScoresOf

RESAMPLES, CONFIDENCE = 1000, 95  # draws, percent
WORST = 10  # answers that are shown


def confidence_intervals(scores_of: ScoresOf, examples: int, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Metric to the ends of its 95 % interval by the percentile bootstrap (Efron 1979), in the unit of the scores.

    Each of 1,000 resamples draws as many examples as there are, with replacement, and every metric is computed on it
    anew. Examples count as independent of each other: questions on one text are not, so that their intervals are too
    narrow. An interval holds the chance of the examples, not that of the training.

    Args:
        scores_of: Of ernie_tiny.evaluation.metrics.scorer.
        examples: Their number.
        seed: Of the draws; the same one gives the same interval.
    """
    draw = np.random.default_rng(seed)  # by hand: scipy.stats.bootstrap finds the same, and refuses a single example
    scores = [scores_of(draw.integers(examples, size=examples)) for _ in range(RESAMPLES)]
    tails = ((100 - CONFIDENCE) / 2, (100 + CONFIDENCE) / 2)
    ends = {name: np.percentile([each[name] for each in scores], tails) for name in scores[0]}
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}


def confusion_matrix(truths: np.ndarray, found: np.ndarray, labels: int) -> np.ndarray:
    """[labels, labels] counts: rows are what was right, columns what was given, both as indices of labels."""
    return np.bincount(truths * labels + found, minlength=labels**2).reshape(labels, labels)


def worst_answers(
    scores_of: ScoresOf, examples: Sequence[Example], predictions: Sequence[Prediction]
) -> list[dict[str, Any]]:
    """Of a reading task the ten answers of lowest F1, in percent: {id, f1, question, prediction, references}."""
    scores = [scores_of(np.array([index]))["f1"] for index in range(len(examples))]
    answers = {prediction.id: prediction.answer for prediction in predictions}
    order = sorted(range(len(examples)), key=scores.__getitem__)
    return [
        {
            "id": examples[index].id,
            "f1": scores[index],
            "question": examples[index].texts[0],
            "prediction": answers[examples[index].id],
            "references": [answer.text for answer in examples[index].answers],
        }
        for index in order[:WORST]
    ]


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation of a sample (n - 1); the deviation of a single value is NaN."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return float(np.mean(values)), deviation
