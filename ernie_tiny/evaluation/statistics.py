"""How sure a score is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Callable

import numpy as np

from ernie_tiny.batch import Array
from ernie_tiny.kinds.kind import ScoresOf

RESAMPLES, TAILS = 1000, (2.5, 97.5)  # draws; where an interval of 95 % ends, in percent of them
ScoreOf = Callable[[Array], float]  # indices of examples, one as often as it counts, to one score in percent


def confidence_intervals(scores_of: ScoresOf, examples: int) -> dict[str, tuple[float, float]]:
    """Metric to the ends of its 95 % interval by the percentile bootstrap (Efron 1979), in the unit of the scores.

    Each of 1,000 resamples draws as many examples as there are, with replacement, and every metric is computed on it
    anew. Examples count as independent of each other: questions on one text are not, so that their intervals are too
    narrow. An interval holds the chance of the examples, not that of the training; the same scores give the same one.

    Args:
        scores_of: Of ernie_tiny.evaluation.metrics.scorer.
        examples: Their number.
    """
    draw = np.random.default_rng(0)  # by hand: scipy.stats.bootstrap finds the same, and refuses a single example
    scores = [scores_of(draw.integers(examples, size=examples)) for _ in range(RESAMPLES)]
    ends = {name: np.percentile([each[name] for each in scores], TAILS) for name in scores[0]}
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}


def paired_interval(
    pairs: Mapping[str, Sequence[tuple[ScoreOf, ScoreOf]]], examples: Mapping[str, int]
) -> tuple[float, float]:
    """The ends of the 95 % interval of one model's gain over another, over the choice of examples and of seeds.

    A percentile bootstrap of two levels: each of 1,000 resamples draws as many training seeds as there are, and of each
    task as many examples, with replacement. Both models are scored on the same examples, so that what is hard for both
    does not widen the interval. The gain is the mean over tasks of the mean over the seeds that were drawn.

    Args:
        pairs: By task and training seed, the score of either model of any choice among the task's examples.
        examples: Their number, by task.
    """
    draw = np.random.default_rng(0)
    seeds = min(map(len, pairs.values()))
    gains = []
    for _ in range(RESAMPLES):
        runs = draw.integers(seeds, size=seeds)
        by_task = []
        for task, found in pairs.items():
            chosen = draw.integers(examples[task], size=examples[task])
            own = {run: found[run][0](chosen) - found[run][1](chosen) for run in set(runs.tolist())}
            by_task.append(np.mean([own[run] for run in runs.tolist()]))
        gains.append(np.mean(by_task))
    low, high = np.percentile(gains, TAILS)
    return float(low), float(high)


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation of a sample (n - 1); the deviation of a single value is NaN."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return float(np.mean(values)), deviation
