"""One of the candidates that an example brings along: multiple choice (C3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np

from ernie_tiny.batch import Array, Batch, Feature
from ernie_tiny.data.records import checked, cut_json, field_of, has_field, id_of, json_document
from ernie_tiny.data.task import UNLABELLED, Example, Prediction, TaskSpec, is_labelled
from ernie_tiny.data.tokenizer import Encoded, Tokenizer
from ernie_tiny.errors import InputError, offer
from ernie_tiny.kind_facts import FACTS
from ernie_tiny.kinds.kind import Decisions, Kind, Outputs, Records, Rows, ScoresOf, count_features, refuse_id_field
from ernie_tiny.kinds.metrics import accuracy, labels_of, log_softmax, most_frequent, percent_equal, scores_of_arrays
from ernie_tiny.kinds.recorded import Recorded, with_label
from ernie_tiny.kinds.sequences import Room, Row, encoded, row
from ernie_tiny.kinds.submission import Submission, shown


def read(spec: TaskSpec, paths: Sequence[Path], split: str) -> Rows:
    """C3: a list of passages [lines, questions, id]; the test files have ids of questions instead.

    The ids of m-train and d-train overlap, so an id made here begins with its file's name.
    """
    refuse_id_field(spec)
    for path in paths:
        for number, passage in enumerate(checked(json_document(path), list, f"{path}: the file")):
            place = f"{path}: passage {number}"
            if len(checked(passage, list, place)) not in (2, 3):
                raise InputError(f"{place}: is not [lines, questions, id]: {cut_json(passage)}.")
            lines = [checked(line, str, f"{place}: a line") for line in checked(passage[0], list, place)]
            name = id_of({"id": passage[2]} if len(passage) == 3 else {}, "id", number, place)
            for index, question in enumerate(checked(passage[1], list, f"{place}: the questions")):
                where = f"{place}, question {index}"
                text = field_of(question, "question", str, where)
                choices = choices_of(question, "choice", where)
                yield (
                    where,
                    Example(
                        id=id_of(question, "id", f"{path.stem}-{name}-{index}", where),
                        texts=("\n".join(lines), text),
                        label=_label(question, choices, where, split),
                        candidates=choices,
                    ),
                )


def choices_of(record: Any, name: str, place: str) -> tuple[str, ...]:
    """The field's choices, two or more."""
    choices = tuple(checked(word, str, f"{place}: a choice") for word in field_of(record, name, list, place))
    if len(choices) < 2:
        raise InputError(f"{place}: {name!r} holds {len(choices)} choices, at least 2 are needed.")
    return choices


def _label(question: Mapping[str, Any], choices: tuple[str, ...], place: str, split: str) -> int | None:
    if split == UNLABELLED:
        return 0 if question.get("answer") is not None else None
    if not is_labelled(split) and (not has_field(question, "answer", place) or question["answer"] is None):
        return None
    answer = field_of(question, "answer", str, place)
    if answer not in choices:
        raise InputError(f"{place}: the answer {answer!r} is none of the choices. {offer(answer, choices)}")
    return choices.index(answer)


def inputs(spec: TaskSpec, records: Records) -> Rows:
    """{"context": ..., "question": ..., "choice": [...]} each."""
    for number, (place, record) in enumerate(records):
        context, question = (field_of(record, name, str, place) for name in ("context", "question"))
        name = id_of(record, spec.id_field, number, place)
        yield place, Example(name, (context, question), candidates=choices_of(record, "choice", place))


def features(spec: TaskSpec, examples: Sequence[Example], tokenizer: Tokenizer, max_length: int) -> Iterator[Feature]:
    """[CLS] context [SEP] question candidate [SEP] for each candidate, the context cut at its end."""
    for example, texts, room in encoded(spec, examples, tokenizer, max_length):
        label = () if example.label is None else (example.label,)
        yield Feature(example.id, tuple(_rows(texts, tokenizer, room)), label)


def _rows(texts: Sequence[Encoded], tokenizer: Tokenizer, room: Room) -> list[Row]:
    (context, _), (question, _), *candidates = texts
    seconds = [np.concatenate([question, candidate]) for candidate, _ in candidates]
    return [row(tokenizer, context[: room(2 + tokenizer.separators + len(second))], second) for second in seconds]


def decisions(logits: Any, batch: Batch) -> Decisions:
    """A decision an example, between its candidates."""
    return Decisions(logits, batch.labels, batch.choice_mask)


def candidate_scores(examples: Sequence[Example], outputs: Outputs) -> dict[str, Array]:
    """Of each example, by id, the log-probabilities of its candidates."""
    return {example.id: log_softmax(outputs[example.id][0][1]) for example in examples}


def predictions_of(
    examples: Sequence[Example], scores: Mapping[str, Array], best: Mapping[str, int]
) -> list[Prediction]:
    """Predictions of these candidates, by id, with the probabilities of all."""
    return [
        Prediction(example.id, str(best[example.id]), tuple(np.exp(scores[example.id]).tolist()))
        for example in examples
    ]


def decode(spec: TaskSpec, examples: Sequence[Example], outputs: Outputs) -> list[Prediction]:
    """The index of the candidate of the largest logit."""
    scores = candidate_scores(examples, outputs)
    return predictions_of(examples, scores, {name: int(np.argmax(values)) for name, values in scores.items()})


def scorer(spec: TaskSpec, examples: Sequence[Example], answers: Mapping[str, Any]) -> ScoresOf:
    """Accuracy."""
    found = np.array([int(answers[example.id]) for example in examples])
    return scores_of_arrays(("accuracy",), labels_of(spec, examples), found)


def index_fault(example: Example, answer: Any) -> Optional[str]:
    """What is wrong with an answer that is to be the index of a candidate."""
    count = len(example.candidates)
    if type(answer) is not int or not 0 <= answer < count:
        return f"the answer is {shown(answer)}, and must be a whole number from 0 to {count - 1}."
    return None


def submission_fault(spec: TaskSpec, example: Example, answer: Any) -> tuple[Optional[str], Optional[str]]:
    """An index is wanted; some write it as text."""
    if isinstance(answer, str) and answer in map(str, range(len(example.candidates))):
        return None, 'labels are text, as in {"label": "0"}. Some writers of such files do so; most write numbers.'
    return index_fault(example, answer), None


def recorded_choice(spec: TaskSpec, example: Example, value: Any, place: str) -> Example:
    """The example with the candidate that a row names: by its number from 0, or by text, its own or such a number."""
    texts, numbers = example.candidates, [*map(str, range(len(example.candidates)))]
    found = {names.index(value) for names in (texts, numbers) if isinstance(value, str) and value in names}
    if type(value) is int and 0 <= value < len(numbers):
        found = {value}
    if len(found) == 2:
        raise InputError(
            f"{place}: the answer {value!r} is the text of candidate {texts.index(value)}, and the number of another. "
            f"Give a number without quotes in JSON lines, such as {texts.index(value)}; or logits."
        )
    if not found:
        valid = offer(str(value), (*texts, *numbers))
        raise InputError(f"{place}: the answer {value!r} is none of the choices. {valid}")
    return with_label(example, found.pop())


MULTIPLE_CHOICE = Kind(
    facts=FACTS["multiple_choice"],
    read=read,
    label_names=lambda spec, example: (),
    inputs=inputs,
    features=features,
    output_names=lambda spec: ("candidate",),
    decisions=decisions,
    count=count_features,
    decode=decode,
    scorer=scorer,
    majority=lambda spec, examples: most_frequent(spec, examples, accuracy),
    agreement=percent_equal,
    details=lambda spec, examples, answers, scores_of: {},
    submission=Submission(
        one_object=False, value=lambda spec, prediction: int(prediction.answer), fault=submission_fault
    ),
    sample_input=lambda spec: {"context": "小明在看书。", "question": "小明在做什么？", "choice": ["看书", "跑步"]},
    answers=lambda spec: "one of the candidates",
    recorded=Recorded(
        texts=lambda spec, record, place: tuple(field_of(record, name, str, place) for name in ("context", "question")),
        options=lambda spec, example: tuple(map(str, range(len(example.candidates)))),
        labelled=recorded_choice,
        candidates=lambda record, place: choices_of(record, "choice", place),
    ),
)
