"""The two records that lie between text and a model; every room knows them. One tokenised input, and a padded batch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

Array = np.ndarray[Any, Any]  # of a type and a shape that is said where one stands
NO_LABEL = -100  # where a feature, or a batch, has room for a label and none is wanted
UNKNOWN = -1  # where a label is wanted and not known; NaN where labels are floats


def known(labels: Array) -> Array:
    """bool of the labels' shape: where one is wanted and known."""
    floats = np.issubdtype(labels.dtype, np.floating)
    found: Array = ~np.isnan(labels) if floats else (labels != NO_LABEL) & (labels != UNKNOWN)
    return found


@dataclass(frozen=True)
class Feature:
    """One tokenised input. A choice example is one feature with a sequence per candidate; a long reading
    example is several features (windows) with the same example id.

    Attributes:
        example_id: The example's id.
        sequences: Pairs (input_ids, token_type_ids) of int32 [length]; [CLS] and [SEP] included, no padding.
        label: What the kind of task makes of the example's: one number, a class, a candidate or a float of regression;
            (start, end) token positions, both inclusive; or a number a token, NO_LABEL where none is wanted. Without
            a label (), or UNKNOWN for each number that the kind would decide.
        offsets: Of kinds whose answers lie in a text: int32 [length, 2], the characters [start, end) of it that a token
            covers, (-1, -1) for tokens outside the text.
    """

    example_id: str
    sequences: tuple[tuple[Array, Array], ...]
    label: tuple[float, ...] = ()
    offsets: Optional[Array] = None


@dataclass(frozen=True)
class Batch:
    """Padded inputs of one task, or of general text, as NumPy arrays.

    Attributes:
        task: Task name; "" for general text.
        example_ids: One per feature.
        input_ids: int64 [rows, length]. rows = features x num_choices, a feature's choices side by side.
        token_type_ids: int64 [rows, length].
        attention_mask: int64 [rows, length], 1 for a token, 0 for padding.
        labels: int64, or float32 where one is a float: [features] where a feature has one number, else [features,
            numbers], NO_LABEL behind a feature's last, UNKNOWN (of floats NaN) for a feature without a label; int64
            [masked] original tokens for masked language modelling; None without labels.
        num_choices: Sequences per feature, the largest number of candidates in the batch; 1 without candidates.
        choice_mask: int64 [features, num_choices], 1 for a real candidate; None without candidates.
        masked_positions: int64 [masked], row x length + column of each token to predict; None without masking.
    """

    task: str
    example_ids: tuple[str, ...]
    input_ids: Array
    token_type_ids: Array
    attention_mask: Array
    labels: Optional[Array] = None
    num_choices: int = 1
    choice_mask: Optional[Array] = None
    masked_positions: Optional[Array] = None

    @property
    def token_mask(self) -> Array:
        """The attention mask without the rows that stand in for missing candidates: what a loss over tokens counts."""
        if self.choice_mask is None:
            return self.attention_mask
        real: Array = self.attention_mask * self.choice_mask.reshape(-1, 1)
        return real

    @property
    def labelled(self) -> Array:
        """bool [features]: those of a task that have a label."""
        if self.labels is None:
            return np.zeros(len(self.example_ids), bool)
        found: Array = known(self.labels).reshape(len(self.example_ids), -1).any(axis=1)
        return found

    def only(self, chosen: Array) -> Batch:
        """The features of a task that are chosen: bool [features]. The padding stays."""
        rows = np.repeat(chosen, self.num_choices)
        return dataclasses.replace(
            self,
            example_ids=tuple(name for name, wanted in zip(self.example_ids, chosen) if wanted),
            input_ids=self.input_ids[rows],
            token_type_ids=self.token_type_ids[rows],
            attention_mask=self.attention_mask[rows],
            labels=None if self.labels is None else self.labels[chosen],
            choice_mask=None if self.choice_mask is None else self.choice_mask[chosen],
        )

    @property
    def num_tokens(self) -> int:
        """Real tokens, padding not counted."""
        return int(self.attention_mask.sum())
