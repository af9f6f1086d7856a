"""A span of a text that answers a question: reading comprehension (CMRC2018, SQuAD)."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ernie_tiny.batch import Array, Batch, Feature
from ernie_tiny.data.records import field_of, has_field, id_of, json_document
from ernie_tiny.data.task import UNLABELLED, Answer, Example, Prediction, TaskSpec, is_labelled
from ernie_tiny.data.tokenizer import Encoded, Tokenizer
from ernie_tiny.errors import InputError
from ernie_tiny.kind_facts import FACTS
from ernie_tiny.kinds.kind import Decisions, Kind, Outputs, Records, Rows, ScoresOf, count_features, refuse_id_field
from ernie_tiny.kinds.metrics import percent_equal
from ernie_tiny.kinds.reading_metrics import question_scores
from ernie_tiny.kinds.sequences import Room, encoded, row, second_start, sliding_windows
from ernie_tiny.kinds.submission import Submission, shown

QUESTION_LENGTH = 64  # tokens that a question may take
STRIDE = 128  # tokens that two neighbouring windows share
ANSWER_LENGTH = 64  # tokens of the longest answer
ENDS = ("start", "end")  # outputs a position: of being an answer's first token, and its last
WORST = 10  # answers that are shown
# CMRC2018's test file holds FAKE_ANSWER_1 and the like where the answers of other splits stand.
FAKE_ANSWER = "FAKE_ANSWER"

logger = logging.getLogger(__name__)


def read(spec: TaskSpec, paths: Sequence[Path], split: str) -> Rows:
    """CMRC2018 in the form of SQuAD 1.1. An answer that is not in the context starts at -1."""
    refuse_id_field(spec)
    for path in paths:
        moved = absent = 0
        articles = field_of(json_document(path), "data", list, str(path))
        paragraphs = [
            paragraph
            for number, article in enumerate(articles)
            for paragraph in field_of(article, "paragraphs", list, f"{path}: data {number}")
        ]
        for number, paragraph in enumerate(paragraphs):
            place = f"{path}: paragraph {number}"
            context = field_of(paragraph, "context", str, place)
            for index, question in enumerate(field_of(paragraph, "qas", list, place)):
                where = f"{place}, question {index}"
                text = field_of(question, "question", str, where)
                stated = _answers(question, where, split)
                answers = tuple(Answer(answer.text, _locate(answer, context)) for answer in stated)
                moved += sum(old.start != new.start >= 0 for old, new in zip(stated, answers))
                absent += sum(answer.start < 0 for answer in answers)
                field_of(question, "id", object, where)  # reading's answers are compared by it, so it must be there
                name = id_of(question, "id", None, where)
                yield where, Example(name, (text, context), answers=answers)
        if moved or absent:
            logger.warning(
                "%s: %d answers do not start at answer_start and were moved to the nearest place "
                "where they stand; %d stand nowhere in their context.",
                path,
                moved,
                absent,
            )


def _answers(question: Any, place: str, split: str) -> tuple[Answer, ...]:
    if split == UNLABELLED:
        stated = str(question.get("answers") or "")
        return (Answer("", 0),) if stated and FAKE_ANSWER not in stated else ()
    labelled = is_labelled(split)
    if not labelled and (not has_field(question, "answers", place) or question["answers"] is None):
        return ()
    answers = tuple(
        Answer(field_of(answer, "text", str, place), field_of(answer, "answer_start", int, place))
        for answer in field_of(question, "answers", list, place)
    )
    if labelled and not answers:
        raise InputError(f"{place}: 'answers' is empty.")
    return tuple(answer for answer in answers if labelled or not answer.text.startswith(FAKE_ANSWER))


def _locate(answer: Answer, context: str) -> int:
    """Where the answer stands in the context, nearest to its stated start; -1 if it does not."""
    if answer.start >= 0 and context.startswith(answer.text, answer.start):
        return answer.start
    starts = (match.start() for match in re.finditer(f"(?={re.escape(answer.text)})", context))
    return min(starts, key=lambda start: abs(start - answer.start), default=-1)


def inputs(spec: TaskSpec, records: Records) -> Rows:
    """{"context": ..., "question": ...} each."""
    for number, (place, record) in enumerate(records):
        context, question = (field_of(record, name, str, place) for name in ("context", "question"))
        yield place, Example(id_of(record, spec.id_field, number, place), (question, context))


def features(
    spec: TaskSpec, examples: Sequence[Example], tokenizer: Tokenizer, max_length: int, stride: int = STRIDE
) -> Iterator[Feature]:
    """[CLS] question [SEP] window [SEP] for each window of the context.

    Neighbouring windows share `stride` tokens, but at most half a window. The label is the first and the last token
    that the first reference answer touches, or (0, 0), the [CLS], where a window does not hold all of it.
    """
    for example, texts, room in encoded(spec, examples, tokenizer, max_length):
        yield from _windows(example, texts, tokenizer, room, stride)


def _windows(
    example: Example, texts: Sequence[Encoded], tokenizer: Tokenizer, room: Room, stride: int
) -> Iterator[Feature]:
    (question, _), (context, offsets) = texts
    question = question[:QUESTION_LENGTH]
    size = room(2 + tokenizer.separators + len(question))
    first, last = _answer_tokens(example, offsets)
    before = second_start(tokenizer, question)
    for window in sliding_windows(len(context), size, stride):
        ids, types = row(tokenizer, question, context[window])
        inside = window.start <= first and last < window.stop
        moved = before - window.start
        label = (first + moved, last + moved) if inside else (0, 0)
        places = np.full((len(ids), 2), -1, np.int32)
        places[before:-1] = offsets[window]
        yield Feature(example.id, ((ids, types),), label if example.answers else (), places)


def _answer_tokens(example: Example, offsets: Array) -> tuple[int, int]:
    """First and last token of the first reference answer that stands in the context, else (-1, -1)."""
    for answer in example.answers:
        end = answer.start + len(answer.text)
        touched = np.flatnonzero((offsets[:, 1] > answer.start) & (offsets[:, 0] < end))
        if answer.start >= 0 and len(touched):
            return int(touched[0]), int(touched[-1])
    return -1, -1


def decisions(logits: Any, batch: Batch) -> Decisions:
    """Two decisions a window, between its positions: of an answer's first and of its last token."""
    labels = None if batch.labels is None else batch.labels.reshape(-1)
    return Decisions(logits.reshape([-1, logits.shape[-1]]), labels, np.repeat(batch.attention_mask, len(ENDS), axis=0))


def decode(spec: TaskSpec, examples: Sequence[Example], outputs: Outputs) -> list[Prediction]:
    """The text of the best span, at most ANSWER_LENGTH tokens inside the context, of all windows."""
    return [_best_answer(example, outputs[example.id]) for example in examples]


def _best_answer(example: Example, windows: Sequence[tuple[Feature, Array]]) -> Prediction:
    """The text of the best span; none, and no score, where the context has no token."""
    score, start, end = max((_best_span(*window) for window in windows), key=lambda span: span[0])
    return Prediction(example.id, example.texts[1][start:end], () if score == -np.inf else (score,))


def _best_span(feature: Feature, values: Array) -> tuple[float, int, int]:
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


def scorer(spec: TaskSpec, examples: Sequence[Example], answers: Mapping[str, Any]) -> ScoresOf:
    """Exact match and F1 as the task's official scorer has them."""
    references = {example.id: [answer.text for answer in example.answers] for example in examples}
    by_metric = question_scores(answers, references, spec.scorer)
    each = {name: np.array(values) for name, values in by_metric.items()}
    return lambda chosen: {name: 100 * float(values[chosen].mean()) for name, values in each.items()}


def details(
    spec: TaskSpec, examples: Sequence[Example], answers: Mapping[str, Any], scores_of: ScoresOf
) -> dict[str, Any]:
    """The ten answers of lowest F1, in percent: {id, f1, question, prediction, references}."""
    scores = [scores_of(np.array([index]))["f1"] for index in range(len(examples))]
    order = sorted(range(len(examples)), key=scores.__getitem__)
    worst = [
        {
            "id": examples[index].id,
            "f1": scores[index],
            "question": examples[index].texts[0],
            "prediction": answers[examples[index].id],
            "references": [answer.text for answer in examples[index].answers],
        }
        for index in order[:WORST]
    ]
    return {"worst": worst}


def submission_fault(spec: TaskSpec, example: Example, answer: Any) -> tuple[Optional[str], Optional[str]]:
    """Any text will do."""
    if not isinstance(answer, str):
        return f"the answer is {shown(answer)}, and must be text, in quotes.", None
    return None, None


READING = Kind(
    facts=FACTS["reading"],
    read=read,
    label_names=lambda spec, example: (),
    inputs=inputs,
    features=features,
    output_names=lambda spec: ENDS,
    decisions=decisions,
    count=count_features,
    decode=decode,
    scorer=scorer,
    agreement=percent_equal,
    details=details,
    submission=Submission(one_object=True, value=lambda spec, prediction: prediction.answer, fault=submission_fault),
    sample_input=lambda spec: {"context": "北京是中国的首都。", "question": "中国的首都是哪里？"},
    answers=lambda spec: "a span of the text",
)
