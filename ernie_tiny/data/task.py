"""What a task is: values that describe files, fields, labels and the metric."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Optional

from ernie_tiny.errors import InputError, offer
from ernie_tiny.kind_facts import SCHEMES, SCORERS, facts_of

UNLABELLED = "unlabelled"  # the split of texts that are trained on without their labels


@dataclass(frozen=True)
class TaskSpec:
    """A task as a value.

    Attributes:
        name: Short name, also the name of the task's head in a model.
        kind: How a record becomes an Example, and which head answers it: a name of ernie_tiny.kind_facts.
        files: Split name to the files it is read from, relative to the data root. The split "unlabelled" is trained
            on beside "train" by terms that read a teacher; its labels, if there are some, are not looked at.
        texts: Fields of a record that hold the input texts, in order (kinds with texts only).
        labels: Label names in the order of the logits. Empty for kinds without labels.
        label_field: Field of a record that holds the label.
        id_field: Field that holds the example's id; a record without it gets its row number. Nested files have ids at
            places of their own, so that their kinds take none but the default.
        drop_labels: Labels whose rows are left out, and counted.
        drop_broken_rows: Leave out, and count, the rows of a table with more or fewer columns than it has; those
            of a test split are an error even so.
        scheme: "bio", "bioes" or "bmes": of the tags of column files, and of those that a model is taught (labelling).
        file_format: "jsonl", "tsv" or "csv", "conll" for column files, or "json" for the nested kinds. A table has a
            header row unless
        columns: names, by split, the columns of its files without one; of a held-out split by default those of train.
        held_out: Further splits, made of the train files: split to the part of the rows, as in {dev: 0.1}. A
            row's texts decide, by their hash: rows of equal texts stay together, and the same file is always
            split alike (kinds with texts only).
        metric: The metric that selects the best checkpoint and stands in tables, one of its kind's; by default the
            first of them. F1 of classes is that of the second of two labels.
        scorer: Whose definition of exact match and F1 counts in reading: "cmrc2018" or "squad".
        max_length: Tokens of an input, [CLS] and [SEP] included.
        submission: Test split to the leaderboard's file name for it.
    Raises:
        InputError: A value is not one of those above, or two of them do not fit each other.
    """

    name: str
    kind: str
    files: Mapping[str, tuple[str, ...]]
    texts: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    label_field: str = "label"
    id_field: str = "id"
    drop_labels: tuple[str, ...] = ()
    drop_broken_rows: bool = False
    file_format: str = "jsonl"
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    held_out: Mapping[str, float] = field(default_factory=dict)
    metric: str = ""
    scorer: str = "cmrc2018"
    scheme: str = "bio"
    max_length: int = 128
    submission: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            facts = facts_of(self.kind)
        except InputError as error:
            raise InputError(f"task {self.name}: {error}") from error
        if not self.metric:
            object.__setattr__(self, "metric", facts.metrics[0])
        self._check("metric", self.metric, facts.metrics)
        self._check("scorer", self.scorer, facts.scorers or SCORERS)
        self._check("scheme", self.scheme, SCHEMES)
        if facts.labelled and len(self.labels) < facts.fewest_labels:
            raise InputError(f"task {self.name}: labels = {list(self.labels)}. Name them in the order of the logits.")
        if self.metric in facts.two_label_metrics and len(self.labels) > 2:
            others = [name for name in facts.metrics if name not in facts.two_label_metrics]
            raise InputError(
                f"task {self.name}: metric = {self.metric!r} is that of the second of two labels, and there are "
                f"{len(self.labels)}. Take {' or '.join(others)}."
            )
        self._check_held_out()

    def _check(self, key: str, value: str, valid: Iterable[str]) -> None:
        if value not in valid:
            raise InputError(f"task {self.name}: {key} = {value!r}. {offer(value, valid)}")

    def _check_held_out(self) -> None:
        where, parts = f"task {self.name}: held_out = {dict(self.held_out)}", self.held_out.values()
        if self.held_out and not (self.texts or facts_of(self.kind).held_out):
            raise InputError(f"{where} is for kinds with texts. Give the files of each split.")
        if self.held_out and "train" not in self.files:
            raise InputError(f"{where} is made of the train files, and there are none. Name them.")
        for split in ("train", *self.files):
            if split in self.held_out:
                raise InputError(f"{where} names {split!r}, which has files of its own. Take it out.")
        if not all(part > 0 for part in parts) or sum(parts) >= 1:
            raise InputError(f"{where}: give parts of the train files, each above 0 and together below 1.")

    def files_of(self, split: str) -> tuple[str, ...]:
        """The files that a split is read from; none if the task has no such split."""
        return self.files.get("train" if split in self.held_out else split, ())

    def columns_of(self, split: str) -> tuple[str, ...]:
        """The columns of a split's files; none where these have a header row. A held-out split has those of train."""
        return self.columns.get(split) or (self.columns.get("train", ()) if split in self.held_out else ())

    def holds(self, split: str, texts: tuple[str, ...]) -> bool:
        """Whether a row of these texts, in the files of the split, belongs to it."""
        if not self.held_out or split not in ("train", *self.held_out):
            return True
        digest = hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).digest()
        place = int.from_bytes(digest[:8], "big") / 2**64
        for name, part in self.held_out.items():
            if place < part:
                return name == split
            place -= part
        return split == "train"


def is_labelled(split: str) -> bool:
    """Whether every example of a split must have a label: all but those named test... and "unlabelled"."""
    return not split.startswith("test") and split != UNLABELLED


@dataclass(frozen=True)
class Answer:
    """A reference answer of reading comprehension: its text and where it starts in the context, in characters."""

    text: str
    start: int


@dataclass(frozen=True)
class Example:
    """One question to a model, before tokenisation.

    Attributes:
        id: Unique within a task's split; predictions and caches are keyed by it. A question to a predictor needs none.
        texts: Classes and regression: one text or a pair. Multiple choice: (context, question). Cloze: (text before
            the blank, text after it). Reading: (question, context).
        label: Index into TaskSpec.labels, or into candidates, or the number that regression is to give; None
            where the split has no labels, and for kinds whose answers are no index or number.
        candidates: The choices of an example that brings its own along.
        answers: The reference answers where they are no index or number: the Answers of reading comprehension, the one
            tuple of a text's entities, or what another kind compares its answers with; empty where the split has none.
        group: Cloze blanks that share one candidate list have one group; each candidate is used once in it.
    """

    id: str = ""
    texts: tuple[str, ...] = ()
    label: Optional[float] = None
    candidates: tuple[str, ...] = ()
    answers: tuple[Any, ...] = ()
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
        answer: Label name (classes), a number as text (regression), index of the candidate as text (choice, cloze),
            or answer text (reading); of another kind text or a tuple that JSON can hold, dataclasses included.
        scores: Probabilities over labels or candidates; the number of regression; for reading the score of the
            chosen span, and none where the context is empty.
        broken: What the model found most probable that is no answer by the form of its kind, so that something less
            probable stands for it: sequences of tags that do not keep to their scheme.
    """

    id: str
    answer: Any
    scores: tuple[float, ...] = ()
    broken: int = 0

    def record(self) -> dict[str, Any]:
        """A line of a file of answers; `broken` only where there is something."""
        found = asdict(self)
        return found if self.broken else {name: value for name, value in found.items() if name != "broken"}
