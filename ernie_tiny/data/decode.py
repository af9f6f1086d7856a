"""From logits to answers, in NumPy; evaluation, leaderboard files and deployment share this."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.optimize import linear_sum_assignment

from ernie_tiny.batch import Feature
from ernie_tiny.data.task import Example, Prediction, TaskSpec

ANSWER_LENGTH = 64  # tokens of the longest answer of reading comprehension


def decode(
    spec: TaskSpec, examples: Sequence[Example], features: Sequence[Feature], logits: Sequence[np.ndarray]
) -> list[Prediction]:
    """The answers, in the order of the examples.

    - classification: the label of the largest logit
    - regression: the logit itself, as the shortest text that a float32 is read back from
    - multiple choice: the index of the candidate of the largest logit
    - cloze: within a group, wherever its blanks stand in the data, every candidate is given to at most one
      blank, so that the sum of log-probabilities is the largest possible. (PaddleNLP's baseline assigns
      greedily within a batch, so that its accuracy depends on the batch size.) A group with more blanks than
      candidates has no such assignment: each of its blanks gets its best candidate.
    - reading: the text of the best span, at most ANSWER_LENGTH tokens inside the context, of all windows

    Args:
        features: The examples' features in any order; labels are not looked at.
        logits: Of each feature, without padding: [labels], [1] of regression, [candidates] or [2, length]
            (start, end).
    """
    if len({example.id for example in examples}) < len(examples):
        raise ValueError(f"{spec.name}: an id stands twice, and answers are kept by id.")
    if len(features) != len(logits):
        raise ValueError(f"{spec.name}: {len(features)} features, but {len(logits)} logits.")
    outputs: dict[str, list[tuple[Feature, np.ndarray]]] = defaultdict(list)
    for feature, values in zip(features, logits):
        outputs[feature.example_id].append((feature, values))
    if spec.kind == "reading":
        return [_best_answer(example, outputs[example.id]) for example in examples]
    if spec.kind == "regression":
        numbers = {example.id: np.float32(outputs[example.id][0][1][0]) for example in examples}
        return [Prediction(name, str(number), (float(number),)) for name, number in numbers.items()]
    scores = {example.id: _log_softmax(outputs[example.id][0][1]) for example in examples}
    best = (
        _assign(examples, scores)
        if spec.kind == "cloze"
        else {name: int(np.argmax(values)) for name, values in scores.items()}
    )
    return [
        Prediction(
            example.id,
            spec.labels[best[example.id]] if spec.head == "classification" else str(best[example.id]),
            tuple(np.exp(scores[example.id]).tolist()),
        )
        for example in examples
    ]


def _log_softmax(values: np.ndarray) -> np.ndarray:
    shifted = values.astype(np.float64) - values.max()
    return shifted - np.log(np.exp(shifted).sum())


def _assign(examples: Sequence[Example], scores: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Example id to candidate, each candidate at most once within a group."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for example in examples:  # a blank without a group is one of its own, whatever groups are called
        groups[(example.group, "" if example.group else example.id)].append(example.id)
    best: dict[str, int] = {}
    for names in groups.values():
        table = np.stack([scores[name] for name in names])
        if len(names) <= table.shape[1]:
            columns = linear_sum_assignment(table, maximize=True)[1]
        else:
            columns = table.argmax(axis=1)
        best.update(zip(names, columns.tolist()))
    return best


def _best_answer(example: Example, windows: Sequence[tuple[Feature, np.ndarray]]) -> Prediction:
    """The text of the best span; none, and no score, where the context has no token."""
    score, start, end = max((_best_span(*window) for window in windows), key=lambda span: span[0])
    return Prediction(example.id, example.texts[1][start:end], () if score == -np.inf else (score,))


def _best_span(feature: Feature, values: np.ndarray) -> tuple[float, int, int]:
    """Score, first character and end of a window's best span; minus infinity and no text without context."""
    if feature.offsets is None:
        raise ValueError(f"example {feature.example_id}: a feature of reading needs offsets.")
    inside = feature.offsets[:, 0] >= 0
    if not inside.any():
        return -np.inf, 0, 0
    offsets, (starts, ends) = feature.offsets[inside], values[:, inside].astype(np.float64)
    # Row i holds the ends of the spans that start at token i, so that no other span is ever scored.
    reachable = np.pad(ends, (0, ANSWER_LENGTH - 1), constant_values=-np.inf)
    table = starts[:, None] + sliding_window_view(reachable, ANSWER_LENGTH)
    first, length = divmod(int(table.argmax()), ANSWER_LENGTH)
    return float(table[first, length]), int(offsets[first, 0]), int(offsets[first + length, 1])
