"""A kind as another package would bring it: any number of labels for a text. No line of the project knows it.

A label is a decision between two options, no and yes, with the logits 0 and z: their cross-entropy is the binary one of
sigmoid(z).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np

from ernie_tiny.batch import UNKNOWN, Batch, Feature
from ernie_tiny.data.records import field_of, has_field, id_of, json_lines
from ernie_tiny.data.task import UNLABELLED, Example, Prediction, TaskSpec, is_labelled
from ernie_tiny.data.tokenizer import Tokenizer
from ernie_tiny.errors import InputError, offer
from ernie_tiny.kind_facts import ROW, KindFacts
from ernie_tiny.kinds.kind import Decisions, Kind, Outputs, Records, Rows, ScoresOf
from ernie_tiny.kinds.metrics import percent_equal
from ernie_tiny.kinds.sequences import encoded, text_row
from ernie_tiny.kinds.submission import Submission, shown


def read(spec: TaskSpec, paths: Sequence[Path], split: str) -> Rows:
    """{"text": ..., "labels": [...]} a line."""
    records = itertools.chain.from_iterable(json_lines(path) for path in paths)
    for number, (place, record) in enumerate(records):
        yield place, example(spec, record, number, place, answers(spec, record, split, place))


def answers(spec: TaskSpec, record: Any, split: str, place: str) -> tuple[tuple[str, ...], ...]:
    """One tuple of labels; none where the split needs none and the record has none, and of unlabelled texts."""
    if split == UNLABELLED or (not is_labelled(split) and not has_field(record, spec.label_field, place)):
        return ()
    found = field_of(record, spec.label_field, list, place)
    for label in found:
        if label not in spec.labels:
            raise InputError(f"{place}: {spec.name} has no label {label!r}. {offer(str(label), spec.labels)}")
    return (tuple(found),)


def inputs(spec: TaskSpec, records: Records) -> Rows:
    for number, (place, record) in enumerate(records):
        yield place, example(spec, record, number, place)


def example(spec: TaskSpec, record: Any, number: int, place: str, found: tuple[Any, ...] = ()) -> Example:
    texts = (field_of(record, spec.texts[0], str, place),)
    return Example(id_of(record, spec.id_field, number, place), texts, answers=found)


def features(spec: TaskSpec, examples: Sequence[Example], tokenizer: Tokenizer, max_length: int) -> Iterator[Feature]:
    for example, texts, room in encoded(spec, examples, tokenizer, max_length):
        label = (UNKNOWN,) * len(spec.labels)
        for found in example.answers:  # one, or none of a text without labels, which is not a text of no label
            label = tuple(int(name in found) for name in spec.labels)
        yield Feature(example.id, (text_row(texts, tokenizer, room),), label)


def decisions(logits: Any, batch: Batch) -> Decisions:
    import paddle

    yes = logits.reshape([-1])
    labels = None if batch.labels is None else batch.labels.reshape(-1)
    return Decisions(paddle.stack([paddle.zeros_like(yes), yes], axis=1), labels)


def count(batch: Batch) -> int:
    assert batch.labels is not None
    return batch.labels.size


def decode(spec: TaskSpec, examples: Sequence[Example], outputs: Outputs) -> list[Prediction]:
    predictions = []
    for example in examples:
        ((_, logits),) = outputs[example.id]
        names = tuple(name for name, logit in zip(spec.labels, logits) if logit > 0)
        scores = 1 / (1 + np.exp(-logits.astype(np.float64)))
        predictions.append(Prediction(example.id, names, tuple(scores.tolist())))
    return predictions


def hits(spec: TaskSpec, examples: Sequence[Example], answers: Mapping[str, Any]) -> np.ndarray:
    """int [examples, labels, 3]: right and given, right, given."""
    right = np.array([[name in example.answers[0] for name in spec.labels] for example in examples])
    given = np.array([[name in answers[example.id] for name in spec.labels] for example in examples])
    return np.stack([right & given, right, given], axis=-1).astype(int)


def f1(counts: np.ndarray) -> float:
    both, right, given = counts
    return float(100 * 2 * both / max(right + given, 1))


def scorer(spec: TaskSpec, examples: Sequence[Example], answers: Mapping[str, Any]) -> ScoresOf:
    counts = hits(spec, examples, answers).sum(axis=1)
    return lambda chosen: {"micro_f1": f1(counts[chosen].sum(axis=0))}


def details(
    spec: TaskSpec, examples: Sequence[Example], answers: Mapping[str, Any], scores_of: ScoresOf
) -> dict[str, Any]:
    counts = hits(spec, examples, answers).sum(axis=0)
    return {"by_label": [{"label": name, "f1": f1(each)} for name, each in zip(spec.labels, counts)]}


def fault(spec: TaskSpec, example: Example, answer: Any) -> tuple[Optional[str], Optional[str]]:
    return (None if isinstance(answer, list) else f"the answer is {shown(answer)}, and must be a list."), None


MULTI_LABEL = Kind(
    facts=KindFacts("multi_label", ROW, ("micro_f1",), labelled=True, texts=(1,)),
    read=read,
    label_names=lambda spec, example: example.answers[0],
    inputs=inputs,
    features=features,
    output_names=lambda spec: spec.labels,
    decisions=decisions,
    count=count,
    decode=decode,
    scorer=scorer,
    agreement=percent_equal,
    details=details,
    submission=Submission(False, lambda spec, prediction: list(prediction.answer), fault),
    sample_input=lambda spec: {spec.texts[0]: "今天天气很好"},
    answers=lambda spec: f"any of {len(spec.labels)} labels",
)
