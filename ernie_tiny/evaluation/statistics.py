"""How sure a score is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ernie_tiny.kinds.kind import ScoresOf

RESAMPLES, CONFIDENCE = 1000, 95  # draws, percent


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


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation of a sample (n - 1); the deviation of a single value is NaN."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return float(np.mean(values)), deviation
