"""Metrics of right against given answers, and what the scores of several kinds have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import MappingProxyType

import numpy as np
from scipy import special, stats

from ernie_tiny.batch import Array
from ernie_tiny.data.task import Example, TaskSpec
from ernie_tiny.errors import InputError
from ernie_tiny.kinds.kind import ScoresOf


def accuracy(truths: Array, found: Array) -> float:
    """Part of the classes that were found, 0 to 1."""
    return float((truths == found).mean())


def f1(truths: Array, found: Array) -> float:
    """Harmonic mean of precision and recall of class 1 against class 0, 0 to 1; 0 where it is never found."""
    hits = np.sum((truths == 1) & (found == 1))
    return float(2 * hits / max(np.sum(truths == 1) + np.sum(found == 1), 1))


def matthews(truths: Array, found: Array) -> float:
    """Matthews correlation of two or more classes, -1 to 1 (Gorodkin 2004, R_K); 0 where one side is constant."""
    size = int(max(truths.max(), found.max())) + 1
    truth_counts, found_counts = np.bincount(truths, minlength=size), np.bincount(found, minlength=size)
    count = len(truths)
    covariance = np.sum(truths == found) * count - truth_counts @ found_counts
    variances = [count**2 - float(counts @ counts) for counts in (truth_counts, found_counts)]
    return float(covariance / np.sqrt(variances[0] * variances[1])) if all(variances) else 0.0


def pearson(truths: Array, found: Array) -> float:
    """Linear correlation, -1 to 1; 0 where one side is constant."""
    return float(stats.pearsonr(truths, found)[0]) if np.ptp(truths) and np.ptp(found) else 0.0


def spearman(truths: Array, found: Array) -> float:
    """Correlation of ranks, equal values sharing theirs, -1 to 1; 0 where one side is constant."""
    return float(stats.spearmanr(truths, found)[0]) if np.ptp(truths) and np.ptp(found) else 0.0


METRICS = MappingProxyType(
    {"accuracy": accuracy, "f1": f1, "matthews": matthews, "pearson": pearson, "spearman": spearman}
)


def scores_of_arrays(names: Iterable[str], truths: Array, found: Array) -> ScoresOf:
    """Gives these metrics of METRICS, in percent, of any choice among the examples of two arrays."""
    return lambda chosen: {name: 100 * METRICS[name](truths[chosen], found[chosen]) for name in names}


def labels_of(spec: TaskSpec, examples: Sequence[Example]) -> Array:
    """The right answers [examples]: indices of labels or candidates, or numbers.

    Raises:
        InputError: An example has none.
    """
    for example in examples:
        if example.label is None:
            raise InputError(f"{spec.name}: example {example.id!r} has no label. Score a split that has labels.")
    return np.array([example.label for example in examples])


def most_frequent(spec: TaskSpec, examples: Sequence[Example], metric: Callable[..., float]) -> float:
    """The metric, in percent, of always giving the most frequent label or index of a candidate."""
    truths = labels_of(spec, examples)
    return 100 * metric(truths, np.full_like(truths, np.bincount(truths).argmax()))


def percent_equal(first: Sequence[object], second: Sequence[object]) -> float:
    """Percent of answers that are equal."""
    return 100 * sum(one == other for one, other in zip(first, second)) / len(first)


def log_softmax(values: Array) -> Array:
    """Log-probabilities of logits [..., options], float64."""
    found: Array = special.log_softmax(values.astype(np.float64), axis=-1)
    return found
