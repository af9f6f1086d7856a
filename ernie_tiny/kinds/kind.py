"""What a kind of task is: a value of functions. The files beside this one each define one, registry.py lists them.

Imported without Paddle; functions of tensors import it inside. A kind knows its task (a TaskSpec) only by argument, so
that one value serves every task of the kind. A further kind is one file here, a line in registry.py and one in
ernie_tiny/kind_facts.py; or a package of its own that names its Kind in the entry points "ernie_tiny.kinds".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np

from ernie_tiny.batch import Array, Batch, Feature, known
from ernie_tiny.data.task import Example, Prediction, TaskSpec
from ernie_tiny.data.tokenizer import Tokenizer
from ernie_tiny.errors import InputError, offer
from ernie_tiny.kind_facts import KindFacts
from ernie_tiny.kinds.recorded import Recorded
from ernie_tiny.kinds.submission import Submission

Rows = Iterator[tuple[str, Optional[Example]]]  # where a row stands and its example, None for one to drop
Records = Iterable[tuple[str, Any]]  # where a record stands, which errors name, and its JSON value
# Of each example, by id, its features with their logits, without padding: [outputs], [candidates] or [outputs, length].
Outputs = Mapping[str, Sequence[tuple[Feature, Array]]]
ScoresOf = Callable[[Array], dict[str, float]]  # indices of examples, one as often as it counts, to their scores


@dataclass(frozen=True)
class Decisions:
    """The table of decisions of a batch: all that a loss sees. A class, a choice, an end of a span, a tag is a row.

    Attributes:
        logits: Tensor [decisions, options]; an option that a decision lacks stands at -10,000.
        labels: [decisions], int64 options, UNKNOWN where there is no label; or where numeric float32 numbers, NaN
            without a label. None where no decision has one.
        real: int64 [decisions, options], 1 for an option that the decision has; None where it has all.
        numeric: One option, the number itself: losses are squared errors.
    """

    logits: Any
    labels: Optional[Array] = None
    real: Optional[Array] = None
    numeric: bool = False

    @property
    def labelled(self) -> Array:
        """int [labelled]: the decisions that have a label."""
        return np.flatnonzero(known(self.labels)) if self.labels is not None else np.zeros(0, np.int64)


@dataclass(frozen=True)
class Kind:
    """A kind of task.

    Attributes:
        facts: Its plain values.
        read: Examples of the files of a split; a split named test... may lack labels. Faults are InputErrors
            "path:line: reason". Of the split "unlabelled" labels are not looked at: they may lack or be any; an
            example whose row states one has some label or answer, which whoever reads takes off.
        label_names: What an example is labelled, in words: names of labels, a number; nothing where answers are others.
        inputs: Unlabelled examples of records, as a deployed model is asked them.
        features: The features of some examples, in order; a long one may have several, next to each other. The last
            argument is the most tokens of a sequence, [CLS] and [SEP] included. An example without a label gives
            features without one: (), which stands for UNKNOWN in each number of the others' labels, or where their
            labels say which tokens decide, UNKNOWN for these.
        output_names: What the numbers stand for that the head gives for a row, a candidate or a position, by its form.
        decisions: The table of decisions of a batch of the kind, of the student's or the teacher's logits as the head
            gives them: Tensor [features, outputs], [features, candidates] or [features, outputs, length].
        count: How many things the mean over a batch's table counts: its decisions or, where each has as many, its
            features. Processes, and the batches of one step, weigh their losses by it.
        decode: The answers, in the order of the examples.
        scorer: Gives the scores in percent, by metric, of any choice among the examples. The mapping is example id to
            answer, complete. Raises an InputError where an example has no label.
        agreement: Percent of answers (of the same examples in one order) in which two models agree.
        details: What `tools/evaluate.py` shows beside the scores, as JSON values by name: {"labels": [...], "counts":
            [[...]]} is a matrix, rows right and columns given; a list of objects of equal keys is a table. The answers
            are those of `scorer`, which is given too.
        by_type: Scores of each sort of thing that is found in texts, which the report shows: {"type", "precision",
            "recall", "f1", "entities"} (their number in the reference); None for a kind that finds no things of sorts.
        submission: Of a leaderboard.
        sample_input: A line for tools/infer.py that a task's model card shows.
        answers: What an answer is, in words: "a span of the text".
        majority: The task's metric, in percent, of always giving the most frequent answer; None where there is none.
        recorded: How answers of a teacher that lie in a file are taken; None where they are not.
    """

    facts: KindFacts
    read: Callable[[TaskSpec, Sequence[Path], str], Rows]
    label_names: Callable[[TaskSpec, Example], tuple[str, ...]]
    inputs: Callable[[TaskSpec, Records], Rows]
    features: Callable[[TaskSpec, Sequence[Example], Tokenizer, int], Iterator[Feature]]
    output_names: Callable[[TaskSpec], tuple[str, ...]]
    decisions: Callable[[Any, Batch], Decisions]
    count: Callable[[Batch], int]
    decode: Callable[[TaskSpec, Sequence[Example], Outputs], list[Prediction]]
    scorer: Callable[[TaskSpec, Sequence[Example], Mapping[str, Any]], ScoresOf]
    agreement: Callable[[Sequence[Any], Sequence[Any]], float]
    details: Callable[[TaskSpec, Sequence[Example], Mapping[str, Any], ScoresOf], dict[str, Any]]
    submission: Submission
    sample_input: Callable[[TaskSpec], dict[str, Any]]
    answers: Callable[[TaskSpec], str]
    majority: Optional[Callable[[TaskSpec, Sequence[Example]], float]] = None
    recorded: Optional[Recorded] = None
    by_type: Optional[Callable[[TaskSpec, Sequence[Example], Mapping[str, Any]], list[dict[str, Any]]]] = None


def count_features(batch: Batch) -> int:
    """The features of a batch: its examples, or the windows of long ones."""
    return len(batch.example_ids)


def check_label(spec: TaskSpec, label: str, place: str) -> None:
    """Raises an InputError unless a label, or the type of an entity, is one of the task's."""
    if label not in spec.labels:
        raise InputError(f"{place}: {spec.name} has no label {label!r}. {offer(label, spec.labels)}")


def refuse_id_field(spec: TaskSpec) -> None:
    """Raises an InputError where a task names a field of ids, and its nested files have them at places of their own."""
    if spec.id_field != "id":
        raise InputError(
            f"task {spec.name}: id_field = {spec.id_field!r} is for files with a record a line. The nested ones of the "
            f"kind {spec.kind} have ids of their own. Take it out."
        )
