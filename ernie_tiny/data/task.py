"""What a task is: values that describe files, fields, labels and the metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional

HEAD_OF_KIND = {
    "classification": "classification",
    "pair": "classification",
    "keywords": "classification",
    "coreference": "classification",
    "multiple_choice": "choice",
    "cloze": "choice",
    "reading": "span",
}


@dataclass(frozen=True)
class TaskSpec:
    """A task as a value.

    Attributes:
        name: Short name, also the name of the task's head in a model.
        kind: One of HEAD_OF_KIND: how a record becomes an Example and which head answers it.
        files: Split name to the files it is read from, relative to the data root.
        texts: Fields of a record that hold the input texts, in order (flat kinds only).
        labels: Label names in the order of the logits. Empty for choice and span heads.
        label_field: Field of a record that holds the label.
        id_field: Field that holds the example's id; a record without it gets its row number.
        drop_labels: Labels whose rows are left out, and counted.
        file_format: "jsonl", "tsv" or "csv" (both with a header row), or "json" for the nested kinds.
        metric: The metric that selects the best checkpoint and stands in tables.
        max_length: Tokens of an input, [CLS] and [SEP] included.
        submission: Test split to the leaderboard's file name for it.
    """

    name: str
    kind: str
    files: Mapping[str, tuple[str, ...]]
    texts: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    label_field: str = "label"
    id_field: str = "id"
    drop_labels: tuple[str, ...] = ()
    file_format: str = "jsonl"
    metric: str = "accuracy"
    max_length: int = 128
    submission: Mapping[str, str] = field(default_factory=dict)

    @property
    def head(self) -> str:
        """The head that answers this task: "classification", "choice" or "span"."""
        return HEAD_OF_KIND[self.kind]


@dataclass(frozen=True)
class Answer:
    """A reference answer of reading comprehension: its text and where it starts in the context, in characters."""

    text: str
    start: int


@dataclass(frozen=True)
class Example:
    """One question to a model, before tokenisation.

    Attributes:
        id: Unique within a task's split; predictions and caches are keyed by it.
        texts: Classification heads: one text or a pair. Choice heads: (context, question) for multiple
            choice, (text before the blank, text after it) for cloze. Reading: (question, context).
        label: Index into TaskSpec.labels, or into candidates; None where the split has no labels.
        candidates: The choices of a choice head.
        answers: The reference answers of reading comprehension; empty where the split has none.
        group: Cloze blanks that share one candidate list have one group; each candidate is used once in it.
    """

    id: str
    texts: tuple[str, ...]
    label: Optional[int] = None
    candidates: tuple[str, ...] = ()
    answers: tuple[Answer, ...] = ()
    group: str = ""


@dataclass(frozen=True)
class Split:
    """The examples of one split and what was left out of it."""

    examples: tuple[Example, ...]
    dropped: int = 0


@dataclass(frozen=True)
class Prediction:
    """A model's answer to one example.

    Attributes:
        id: The example's id.
        answer: Label name (classification), index of the candidate as text (choice), or answer text (reading).
        scores: Probabilities over labels or candidates; for reading the score of the chosen span.
    """

    id: str
    answer: str
    scores: tuple[float, ...] = ()
