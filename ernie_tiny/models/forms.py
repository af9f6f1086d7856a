"""Heads as values, and their three forms: which shape logits have, and how much is padding. Paddle is not needed.

A form knows no kind of task. Of the logits of any form only the last axis is ever padded, and a feature's real entries
stand at its beginning:

- a row: [features, outputs], one vector for an input
- a candidate: [features, candidates], one logit for each of the inputs that a feature has
- a position: [features, outputs, length], one vector for each token
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Callable, Optional

import numpy as np

from ernie_tiny.batch import Array, Batch
from ernie_tiny.errors import InputError, offer
from ernie_tiny.kind_facts import CANDIDATE, OLD_HEADS, POSITION, ROW

MASKED_LOGIT = -1.0e4  # low enough to be 0 after a softmax, in range of float16


@dataclass(frozen=True)
class HeadForm:
    """A form as a value.

    Attributes:
        name: As heads.json has it.
        shape: Of the logits of a batch, from the batch and the head's number of outputs.
        widths: Of a batch's features the real entries of the last axis, int [features], from the same.
        length_axis: Which of the axes is the tokens'; None where none is.
    """

    name: str
    shape: Callable[[Batch, int], tuple[int, ...]]
    widths: Callable[[Batch, int], Array]
    length_axis: Optional[int] = None

    def cut(self, logits: Array, batch: Batch, outputs: int) -> list[Array]:
        """Of each feature of a batch its logits without padding: [outputs], [candidates] or [outputs, length].

        Args:
            logits: As the head gives them, or with the rows of candidates one below the other ([rows, 1]).
        """
        arranged = logits.reshape(self.shape(batch, outputs))
        return [values[..., :width] for values, width in zip(arranged, self.widths(batch, outputs))]

    def pad(self, features: list[Array], batch: Batch, outputs: int) -> Array:
        """float32 logits of a batch from what `cut` gives, of any shape of as many numbers; padding at -10,000."""
        padded = np.full(self.shape(batch, outputs), MASKED_LOGIT, np.float32)
        for row, values, width in zip(padded, features, self.widths(batch, outputs)):
            row[..., :width] = values.reshape(*row.shape[:-1], width)
        return padded


def _choice_mask(batch: Batch) -> Array:
    if batch.choice_mask is None:
        raise ValueError(f"a batch of {batch.task} has no candidates")
    return batch.choice_mask


FORMS: Mapping[str, HeadForm] = MappingProxyType(
    {
        form.name: form
        for form in (
            HeadForm(
                ROW,
                lambda batch, outputs: (len(batch.example_ids), outputs),
                lambda batch, outputs: np.full(len(batch.example_ids), outputs),
            ),
            HeadForm(
                CANDIDATE,
                lambda batch, outputs: _choice_mask(batch).shape,
                lambda batch, outputs: _choice_mask(batch).sum(axis=1),
            ),
            HeadForm(
                POSITION,
                lambda batch, outputs: (len(batch.example_ids), outputs, batch.input_ids.shape[1]),
                lambda batch, outputs: batch.attention_mask.sum(axis=1),
                length_axis=2,
            ),
        )
    }
)


@dataclass(frozen=True)
class HeadSpec:
    """A head as a value.

    Attributes:
        task: The task that it answers.
        form: ROW, CANDIDATE or POSITION of ernie_tiny.kind_facts.
        outputs: Numbers that it gives for a row, a candidate (1) or a position.
        labels: Label names in the order of the logits; empty for a task without labels.
    """

    task: str
    form: str
    outputs: int
    labels: tuple[str, ...] = ()

    @property
    def outline(self) -> str:
        """Outputs and form in words: "3 outputs per row"."""
        return f"{self.outputs} output{'s' * (self.outputs > 1)} {self.form}"


def require_head(task: str, present: Collection[str], owner: str) -> None:
    """Raises an InputError unless a teacher has a head for the task."""
    if task not in present:
        raise InputError(
            f"{owner} has no head for {task}. {offer(task, present)} Fine-tune the teacher on {task} in a stage "
            "before, and name that stage."
        )


def read_heads(file: Path) -> tuple[list[HeadSpec], bool]:
    """The heads of a heads.json, and whether there is one for masked tokens beside them.

    Raises:
        OSError, ValueError, LookupError, TypeError, RecursionError: the file is no such file.
    """
    content = json.loads(file.read_text(encoding="utf-8"))
    return [_head(item) for item in content["heads"]], bool(content["masked_tokens"])


def _head(item: Mapping[str, Any]) -> HeadSpec:
    labels = tuple(item["labels"])
    if "form" in item:
        return HeadSpec(item["task"], FORMS[item["form"]].name, int(item["outputs"]), labels)
    form, outputs = OLD_HEADS[item["kind"]]  # of a file that was written before heads had forms
    return HeadSpec(item["task"], form, len(labels) if outputs is None else outputs, labels)
