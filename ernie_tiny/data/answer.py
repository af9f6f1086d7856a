"""Predictions from any network that gives logits for batches: the way that evaluation and deployment share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Callable

import numpy as np

from ernie_tiny.batch import Batch, Feature
from ernie_tiny.data.batching import collate, plan_batches
from ernie_tiny.data.decode import decode
from ernie_tiny.data.task import Example, Prediction, TaskSpec

Logits = dict[int, np.ndarray]  # number of a feature to its logits


def answer(
    spec: TaskSpec,
    examples: Sequence[Example],
    features: Sequence[Feature],
    pad_id: int,
    batch_tokens: int,
    network: Callable[[Batch], np.ndarray],
    rank: int = 0,
    world_size: int = 1,
    gather: Callable[[Logits], Iterable[Logits]] = lambda own: [own],
) -> list[Prediction]:
    """Predictions in the order of the examples, each example exactly once.

    Args:
        features: The examples' features, windows of a long example next to each other.
        batch_tokens: Padded tokens of a batch. It changes speed and memory, not the answers.
        network: Gives a batch's logits: [features, labels], [features, choices] or [features, 2, length].
        rank, world_size: This process answers the batches rank::world_size, which are those of one process.
        gather: Gives the logits of all processes, by number of the feature.
    """
    widest = max((len(feature.sequences) for feature in features), default=1)  # collate pads the candidates too
    lengths = np.array([widest * max(len(ids) for ids, _ in feature.sequences) for feature in features])
    budget = max(batch_tokens, int(lengths.max(initial=1)))
    plan = plan_batches(lengths, seed=0, epoch=0, batch_size=None, max_tokens=budget, shuffle=False)
    own: Logits = {}
    for indices in plan[rank::world_size]:
        batch = collate([features[index] for index in indices], spec.name, pad_id)
        for index, values in zip(indices, network(batch)):
            own[int(index)] = _without_padding(values, features[index], batch)
    logits = {index: values for part in gather(own) for index, values in part.items()}
    return decode(spec, examples, features, [logits[index] for index in range(len(features))])


def _without_padding(values: np.ndarray, feature: Feature, batch: Batch) -> np.ndarray:
    """Logits of one feature: [labels], [candidates] or [2, length]."""
    if values.ndim == 2:
        return values[:, : len(feature.sequences[0][0])]
    return values if batch.choice_mask is None else values[: len(feature.sequences)]
