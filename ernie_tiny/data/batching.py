"""Which features stand in a batch together, and how they are padded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

import numpy as np

from ernie_tiny.batch import NO_LABEL, UNKNOWN, Array, Batch, Feature
from ernie_tiny.errors import InputError

BUCKET_BATCHES = 50  # batches whose features are sorted by length together


def collate(features: Sequence[Feature], task: str, pad_id: int) -> Batch:
    """The features as one batch, padded to its longest sequence.

    Labels are given when a feature has one; shorter ones are filled up with NO_LABEL, and features without one get
    UNKNOWN, NaN beside floats. A choice feature with fewer candidates than another gets sequences that stand in for the
    missing ones: its own first token ([CLS]), alone and counted as real. Were such a row padding throughout, the
    softmax of its attention would have nothing to sum over and give NaN, which no mask takes out of a gradient again.
    choice_mask is 0 for it.
    """
    num_choices = max(len(feature.sequences) for feature in features)
    length = max(len(ids) for feature in features for ids, _ in feature.sequences)
    input_ids = np.full((len(features), num_choices, length), pad_id, np.int64)
    token_type_ids = np.zeros_like(input_ids)
    attention_mask = np.zeros_like(input_ids)
    choice_mask = np.zeros((len(features), num_choices), np.int64)
    for row, feature in enumerate(features):
        input_ids[row, :, 0] = feature.sequences[0][0][0]
        attention_mask[row, :, 0] = 1
        choice_mask[row, : len(feature.sequences)] = 1
        for choice, (ids, types) in enumerate(feature.sequences):
            input_ids[row, choice, : len(ids)] = ids
            token_type_ids[row, choice, : len(ids)] = types
            attention_mask[row, choice, : len(ids)] = 1
    return Batch(
        task=task,
        example_ids=tuple(feature.example_id for feature in features),
        input_ids=input_ids.reshape(-1, length),
        token_type_ids=token_type_ids.reshape(-1, length),
        attention_mask=attention_mask.reshape(-1, length),
        labels=_labels(features),
        num_choices=num_choices,
        choice_mask=choice_mask if num_choices > 1 else None,
    )


def _labels(features: Sequence[Feature]) -> Optional[Array]:
    """The labels of a batch; None where no feature has one."""
    width = max(len(feature.label) for feature in features)
    if width == 0:
        return None
    rows = [feature.label or (UNKNOWN,) * width for feature in features]
    labels = np.array([(*row, *[NO_LABEL] * (width - len(row))) for row in rows])
    if np.issubdtype(labels.dtype, np.floating):
        labels = labels.astype(np.float32)
        labels[[not feature.label for feature in features]] = np.nan
    else:
        labels = labels.astype(np.int64)
    return labels[:, 0] if width == 1 else labels


def plan_batches(
    lengths: Array,
    seed: int,
    epoch: int,
    batch_size: Optional[int],
    max_tokens: Optional[int],
    shuffle: bool = True,
) -> list[Array]:
    """The batches of one epoch, as arrays of indices into `lengths`; every index once.

    Features of similar length meet: the shuffled order is sorted in stretches of about 50 batches, cut, and
    the batches are shuffled. What is left at the end of a stretch shares with the batch before it, so that a
    batch is never much smaller than it need be (see smallest_batch).

    Args:
        lengths: int [features], padded tokens that each feature takes in a batch of its own.
        seed, epoch: Not negative; with the lengths and the size they determine the plan.
        batch_size: Largest number of features in a batch, 1 or more; or
        max_tokens: largest number of features times the greatest length among them. One of both is given.
        shuffle: False keeps stretches and batches in the order of the indices.
    Raises:
        InputError: max_tokens is too small for the longest feature.
    """
    cost, budget = _cost_and_budget(lengths, batch_size, max_tokens)
    if len(cost) == 0:
        return []
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(cost)) if shuffle else np.arange(len(cost))
    stretch = BUCKET_BATCHES * int(budget // cost.mean())
    # A last stretch of less than half the length joins the one before.
    starts = np.arange(stretch, len(order) - stretch // 2, stretch)
    batches: list[Array] = []
    for part in np.split(order, starts):
        part = part[np.argsort(-lengths[part], kind="stable")]
        batches.extend(_cut(part, cost[part], budget))
    return [batches[index] for index in random.permutation(len(batches))] if shuffle else batches


def smallest_batch(lengths: Array, batch_size: Optional[int], max_tokens: Optional[int]) -> int:
    """A number of features that no batch of plan_batches falls below, in any epoch.

    Raises:
        InputError: As plan_batches.
    """
    cost, budget = _cost_and_budget(lengths, batch_size, max_tokens)
    full = budget // int(cost.max(initial=1))  # that many fit whatever their lengths
    return len(cost) if len(cost) <= full else (full + 1) // 2  # half of a batch and a rest of 1


def _cost_and_budget(lengths: Array, batch_size: Optional[int], max_tokens: Optional[int]) -> tuple[Array, int]:
    """What a feature takes of a batch, and how much there is: a batch size is a budget of 1 a feature."""
    if batch_size is not None:
        return np.ones(len(lengths), np.int64), batch_size
    assert max_tokens is not None
    longest = int(lengths.max(initial=0))
    if longest > max_tokens:
        raise InputError(
            f"max_tokens = {max_tokens} is less than the {longest} padded tokens of the longest feature "
            f"(number {int(lengths.argmax())}). Raise max_tokens to {longest} or lower max_length."
        )
    return lengths, max_tokens


def _cut(order: Array, cost: Array, budget: int) -> list[Array]:
    """Batches from an order whose cost falls, so that a batch's first feature is its greatest."""
    starts = [0]
    while (end := starts[-1] + budget // int(cost[starts[-1]])) < len(order):
        starts.append(end)
    if len(starts) > 1:
        starts[-1] = min(starts[-1], (starts[-2] + len(order)) // 2)
    return np.split(order, starts[1:])
