"""One label for a text or a pair: classification and its variants (pair, keywords, coreference), and regression."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np

from ernie_tiny.batch import Array, Batch, Feature
from ernie_tiny.data.records import checked, field_of, has_field, id_of, json_lines, table_records
from ernie_tiny.data.task import UNLABELLED, Example, Prediction, TaskSpec, is_labelled
from ernie_tiny.data.tokenizer import Tokenizer
from ernie_tiny.errors import InputError, offer
from ernie_tiny.kind_facts import FACTS, facts_of
from ernie_tiny.kinds.kind import Decisions, Kind, Outputs, Records, Rows, ScoresOf, check_label, count_features
from ernie_tiny.kinds.metrics import (
    METRICS,
    labels_of,
    log_softmax,
    most_frequent,
    pearson,
    percent_equal,
    scores_of_arrays,
)
from ernie_tiny.kinds.recorded import Recorded, with_label
from ernie_tiny.kinds.sequences import encoded, text_row
from ernie_tiny.kinds.submission import Submission, shown

MAX_LABELS = 20  # that a message lists
TEXT = "今年的粮食又是一个丰收年"
TextOf = Callable[[Any, str, str], str]  # from a record, a field's name and the record's place to the text
ValueOf = Callable[[TaskSpec, str, str], float]  # from the task, a label's text and its place to Example.label


def text_field(record: Any, name: str, place: str) -> str:
    """The text of a field."""
    text: str = field_of(record, name, str, place)
    return text


def words(record: Any, name: str, place: str) -> str:
    """The text of a field, or the words that it lists, with spaces between them."""
    if isinstance(record, dict) and isinstance(record.get(name), list):
        return " ".join(checked(word, str, f"{place}: a part of {name!r}") for word in record[name])
    return text_field(record, name, place)


def marked_text(record: Any, name: str, place: str) -> str:
    """A text of CLUEWSC with its spans as _noun_ and [pronoun], CLUE's and PaddleNLP's own marks."""
    text = text_field(record, name, place)
    target = field_of(record, "target", dict, place)
    spans = []
    for span in ("span1", "span2"):
        words = field_of(target, f"{span}_text", str, place)
        start = field_of(target, f"{span}_index", int, place)
        if not words:
            raise InputError(f"{place}: {span}_text is empty, so there is nothing to mark.")
        if start < 0 or not text.startswith(words, start):
            raise InputError(
                f"{place}: {span}_text is {words!r}, but at {span}_index {start} stands "
                f"{text[max(start, 0) :][: len(words)]!r}."
            )
        spans.append((start, start + len(words)))
    (first, end), (second, other_end) = sorted(spans)
    if first < second < end < other_end:
        raise InputError(
            f"{place}: span1 and span2 cross: characters {first} to {end} and {second} to {other_end}. One may lie in "
            "the other, or beside it."
        )
    marks = []
    for number, ((start, end), (opening, closing)) in enumerate(zip(spans, (("_", "_"), ("[", "]")))):
        # Where marks meet, what ends does so before something begins; of two that begin the longer one does so first,
        # of two that end the shorter one.
        marks.append((start, 1, -end, number, opening))
        marks.append((end, 0, -start, -number, closing))
    for place_of_mark, *_, mark in sorted(marks, reverse=True):  # backwards, so that no insertion moves the others
        text = text[:place_of_mark] + mark + text[place_of_mark:]
    return text


def index_of_label(spec: TaskSpec, label: str, place: str) -> int:
    """The place of a label among the task's."""
    check_label(spec, label, place)
    return spec.labels.index(label)


def number_of(spec: TaskSpec, label: str, place: str) -> float:
    """The number that regression is to give."""
    try:
        number = float(label)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{place}: {spec.label_field!r} is not a number: {label!r}.")
    return number


def _label(spec: TaskSpec, record: Mapping[str, Any], place: str, labelled: bool) -> str | None:
    """The label as text: some copies of a set hold 1 or true where others hold "1" or "true".

    None where there is none and none has to be: no such field, null or, in a table, an empty cell.
    """
    if not has_field(record, spec.label_field, place) and not labelled:
        return None
    stated = field_of(record, spec.label_field, object, place)
    label = _as_text(stated)
    if not labelled and stated in (None, "") and label not in (*spec.labels, *spec.drop_labels):
        return None
    return label


def _as_text(label: Any) -> str:
    return label if isinstance(label, str) else json.dumps(label, ensure_ascii=False)


def read(
    spec: TaskSpec, paths: Sequence[Path], split: str, text_of: TextOf = text_field, value_of: ValueOf = index_of_label
) -> Rows:
    """A record a line."""
    records = itertools.chain.from_iterable(_records(spec, path, split) for path in paths)
    return _examples(spec, records, split, text_of, value_of)


def _examples(spec: TaskSpec, records: Records, split: str, text_of: TextOf, value_of: ValueOf) -> Rows:
    for number, (place, record) in enumerate(records):
        if record is None:
            yield place, None
            continue
        texts = tuple(text_of(record, name, place) for name in spec.texts)
        if split == UNLABELLED:
            stated = 0 if record.get(spec.label_field) not in (None, "") else None
            yield place, Example(id_of(record, spec.id_field, number, place), texts, stated)
            continue
        label = _label(spec, record, place, is_labelled(split))
        if label in spec.drop_labels:
            yield place, None
            continue
        value = None if label is None else value_of(spec, label, place)
        yield place, Example(id_of(record, spec.id_field, number, place), texts, value)


def inputs(spec: TaskSpec, records: Records, text_of: TextOf = text_field) -> Rows:
    """A record of the task's own files each, whose label is not looked at."""
    own = dataclasses.replace(spec, label_field="", drop_labels=())
    return _examples(own, records, "test", text_of, index_of_label)


def _records(spec: TaskSpec, path: Path, split: str) -> Iterator[tuple[str, Any]]:
    """Where a record stands and what it holds, None for a broken row that the task leaves out."""
    formats = ("jsonl", "tsv", "csv")
    if spec.file_format not in formats:
        raise InputError(
            f"{spec.name}: file_format {spec.file_format!r} does not serve the kind "
            f"{facts_of(spec.kind).name!r}. {offer(spec.file_format, formats)}"
        )
    if spec.file_format == "jsonl":
        return json_lines(path)
    drop_broken = spec.drop_broken_rows and (is_labelled(split) or split == UNLABELLED)
    return table_records(path, spec.file_format, spec.columns_of(split), drop_broken)


def features(spec: TaskSpec, examples: Sequence[Example], tokenizer: Tokenizer, max_length: int) -> Iterator[Feature]:
    """One text: [CLS] a [SEP], cut at its end; two: [CLS] a [SEP] b [SEP], the longer one cut first."""
    for example, texts, room in encoded(spec, examples, tokenizer, max_length):
        label = () if example.label is None else (example.label,)
        yield Feature(example.id, (text_row(texts, tokenizer, room),), label)


def decisions(logits: Any, batch: Batch) -> Decisions:
    """A decision an example, between the labels."""
    return Decisions(logits, batch.labels)


def decode(spec: TaskSpec, examples: Sequence[Example], outputs: Outputs) -> list[Prediction]:
    """The label of the largest logit, and the probabilities of all."""
    predictions = []
    for example in examples:
        scores = log_softmax(outputs[example.id][0][1])
        predictions.append(Prediction(example.id, spec.labels[int(np.argmax(scores))], tuple(np.exp(scores).tolist())))
    return predictions


def labels_and_answers(spec: TaskSpec, examples: Sequence[Example], answers: Mapping[str, Any]) -> tuple[Array, Array]:
    """[examples] right and [examples] given, as indices of labels."""
    return labels_of(spec, examples), np.array([spec.labels.index(answers[example.id]) for example in examples])


def scorer(spec: TaskSpec, examples: Sequence[Example], answers: Mapping[str, Any]) -> ScoresOf:
    """Accuracy, and the task's metric."""
    names = dict.fromkeys(("accuracy", spec.metric))
    return scores_of_arrays(names, *labels_and_answers(spec, examples, answers))


def majority(spec: TaskSpec, examples: Sequence[Example]) -> float:
    """Of the most frequent label."""
    return most_frequent(spec, examples, METRICS[spec.metric])


def details(
    spec: TaskSpec, examples: Sequence[Example], answers: Mapping[str, Any], scores_of: ScoresOf
) -> dict[str, Any]:
    """The confusion matrix."""
    counts = confusion_matrix(*labels_and_answers(spec, examples, answers), len(spec.labels))
    return {"confusion": {"labels": list(spec.labels), "counts": counts.tolist()}}


def confusion_matrix(truths: Array, found: Array, labels: int) -> Array:
    """[labels, labels] counts: rows are what was right, columns what was given, both as indices of labels."""
    return np.bincount(truths * labels + found, minlength=labels**2).reshape(labels, labels)


def submitted(spec: TaskSpec, prediction: Prediction) -> str:
    """The label's name."""
    if prediction.answer not in spec.labels:
        raise InputError(
            f"{spec.name}: example {prediction.id} is answered {prediction.answer!r}. "
            f"{offer(prediction.answer, spec.labels)}"
        )
    return str(prediction.answer)


def submission_fault(spec: TaskSpec, example: Example, answer: Any) -> tuple[Optional[str], Optional[str]]:
    """A label's name is wanted."""
    if not isinstance(answer, str):
        return f"the answer is {shown(answer)}, and must be text, in quotes.", None
    if answer not in spec.labels:
        labels = spec.labels if len(spec.labels) <= MAX_LABELS else (*spec.labels[:3], "...", spec.labels[-1])
        return f"{spec.name} has no label {shown(answer)}. {offer(answer, labels)}", None
    return None, None


def recorded(text_of: TextOf = text_field, value_of: ValueOf = index_of_label) -> Recorded:
    """Of labels."""
    return Recorded(
        texts=lambda spec, record, place: tuple(text_of(record, name, place) for name in spec.texts),
        options=lambda spec, example: spec.labels,
        labelled=lambda spec, example, value, place: with_label(example, value_of(spec, _as_text(value), place)),
    )


CLASSIFICATION = Kind(
    facts=FACTS["classification"],
    read=read,
    label_names=lambda spec, example: () if example.label is None else (spec.labels[int(example.label)],),
    inputs=inputs,
    features=features,
    output_names=lambda spec: spec.labels,
    decisions=decisions,
    count=count_features,
    decode=decode,
    scorer=scorer,
    majority=majority,
    agreement=percent_equal,
    details=details,
    submission=Submission(one_object=False, value=submitted, fault=submission_fault),
    sample_input=lambda spec: dict.fromkeys(spec.texts, TEXT),
    answers=lambda spec: f"one of {len(spec.labels)} labels",
    recorded=recorded(),
)
PAIR = dataclasses.replace(CLASSIFICATION, facts=FACTS["pair"])
KEYWORDS = dataclasses.replace(
    CLASSIFICATION,
    facts=FACTS["keywords"],
    read=lambda spec, paths, split: read(spec, paths, split, words),
    inputs=lambda spec, records: inputs(spec, records, words),
    recorded=recorded(words),
)
COREFERENCE = dataclasses.replace(
    CLASSIFICATION,
    facts=FACTS["coreference"],
    read=lambda spec, paths, split: read(spec, paths, split, marked_text),
    inputs=lambda spec, records: inputs(spec, records, marked_text),
    recorded=recorded(marked_text),
    sample_input=lambda spec: {
        spec.texts[0]: "小明把书给了小红，她很高兴。",
        "target": {"span1_text": "小红", "span1_index": 6, "span2_text": "她", "span2_index": 9},
    },
)


def decode_numbers(spec: TaskSpec, examples: Sequence[Example], outputs: Outputs) -> list[Prediction]:
    """The logit itself, as the shortest text that a float32 is read back from."""
    numbers = [(example.id, np.float32(outputs[example.id][0][1][0])) for example in examples]
    return [Prediction(name, str(number), (float(number),)) for name, number in numbers]


def score_numbers(spec: TaskSpec, examples: Sequence[Example], answers: Mapping[str, Any]) -> ScoresOf:
    """Both correlations, times 100."""
    found = np.array([float(answers[example.id]) for example in examples])
    return scores_of_arrays(FACTS["regression"].metrics, labels_of(spec, examples), found)


def agreement_of_numbers(first: Sequence[Any], second: Sequence[Any]) -> float:
    """Pearson's correlation, times 100."""
    return 100 * pearson(*(np.array([float(answer) for answer in answers]) for answers in (first, second)))


def number_fault(spec: TaskSpec, example: Example, answer: Any) -> tuple[Optional[str], Optional[str]]:
    """A number is wanted, as JSON or as text."""
    try:
        is_number = math.isfinite(float(answer))
    except (TypeError, ValueError):
        is_number = False
    return None if is_number else f"the answer is {shown(answer)}, and must be a number.", None


REGRESSION = dataclasses.replace(
    CLASSIFICATION,
    facts=FACTS["regression"],
    read=lambda spec, paths, split: read(spec, paths, split, value_of=number_of),
    label_names=lambda spec, example: () if example.label is None else (f"{example.label:g}",),
    output_names=lambda spec: ("number",),
    decisions=lambda logits, batch: Decisions(logits, batch.labels, numeric=True),
    decode=decode_numbers,
    scorer=score_numbers,
    majority=None,
    agreement=agreement_of_numbers,
    details=lambda spec, examples, answers, scores_of: {},
    submission=Submission(
        one_object=False, value=lambda spec, prediction: float(prediction.answer), fault=number_fault
    ),
    answers=lambda spec: "a number",
    recorded=dataclasses.replace(recorded(value_of=number_of), softened=None),
)
