"""From the files of a task to its examples, for every kind of task."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Callable, Optional

from ernie_tiny.data.records import checked, field_of, has_field, id_of, json_document, json_lines, shown, table_records
from ernie_tiny.data.task import Answer, Example, Split, TaskSpec, is_labelled
from ernie_tiny.errors import InputError, offer

BLANK = re.compile(r"#idiom\d+#")
# Stands for the other blanks of a passage: four signs "character missing" keep an idiom's length, hint at no
# candidate, and are one known token each in the vocabularies of ERNIE and BERT, while a tag would become
# about ten meaningless ones.
OTHER_BLANK = "□" * 4
# CMRC2018's test file holds FAKE_ANSWER_1 and the like where the answers of other splits stand.
FAKE_ANSWER = "FAKE_ANSWER"

Rows = Iterator[tuple[str, Optional[Example]]]  # where a row stands and its example, None for one to drop
Reader = Callable[[TaskSpec, Sequence[Path], str], Rows]  # task, files, split

logger = logging.getLogger(__name__)


def read_split(spec: TaskSpec, root: Path, split: str, limit: int | None = None) -> Split:
    """The examples of one split in file order, and the number of rows that were dropped for their label.

    Args:
        spec: The task.
        root: The data root, to which the spec's files are relative.
        split: One of spec.files or spec.held_out. A split named test... may lack labels; every other must have
            them.
        limit: Draw so many of the examples by the hash of their texts, the same ones each time.
    Raises:
        InputError: As "path:line: reason" (nested files: "path: place: reason"), for an unknown split, a
            missing or empty file, broken JSON or UTF-8, a missing field, an unknown label, or an id that
            stands twice.
    """
    paths = _paths(spec, Path(root), split)
    examples: list[Example] = []
    places: dict[str, str] = {}
    dropped = 0
    for place, example in READERS[spec.kind](spec, paths, split):
        if example is None:
            dropped += 1
            continue
        if not spec.holds(split, example.texts):
            continue
        if example.id in places:
            raise InputError(
                f"{place}: the id {example.id!r} stands already at {places[example.id]}. In a split an id is unique."
            )
        places[example.id] = place
        examples.append(example)
    if not examples:
        raise InputError(f"{paths[0]}: the split {split!r} of {spec.name} is empty ({dropped} rows dropped).")
    return Split(tuple(_drawn(examples, limit)), dropped)


def _drawn(examples: Sequence[Example], limit: int | None) -> Sequence[Example]:
    """So many of the examples in their order, drawn by the hash of what they say.

    Files are often sorted by label, so that their first rows are of one; and a row that is drawn stays drawn when
    others are added or moved, or when more are drawn. The blanks of a cloze passage, which share their candidates, are
    drawn one after the other.
    """
    if limit is None or limit >= len(examples):
        return examples

    def place(number: int) -> tuple[bytes, int]:
        example = examples[number]
        said = example.candidates if example.group else (*example.texts, *example.candidates)
        return hashlib.sha256("\0".join(("limit", *said)).encode("utf-8", "surrogatepass")).digest(), number

    return [examples[number] for number in sorted(sorted(range(len(examples)), key=place)[:limit])]


def _paths(spec: TaskSpec, root: Path, split: str) -> list[Path]:
    if not spec.files_of(split):
        raise InputError(f"{spec.name} has no split {split!r}. {offer(split, [*spec.files, *spec.held_out])}")
    for file in spec.files_of(split):
        if not (root / file).is_file():
            raise InputError(
                f"{root / file}: no such file. The split {split!r} of {spec.name} is read from "
                f"{file} below the data root {root}. tools/download_clue.py fetches CLUE."
            )
    paths = [root / file for file in spec.files_of(split)]
    twice = [path for path, times in Counter(path.resolve() for path in paths).items() if times > 1]
    if twice:
        raise InputError(f"{spec.name}: the split {split!r} names {twice[0]} twice, which would count its rows twice.")
    return paths


def _flat(spec: TaskSpec, paths: Sequence[Path], split: str) -> Rows:
    """Classification, pairs, keywords, coreference and regression: a record a line."""
    formats = ("jsonl", "tsv", "csv")
    if spec.file_format not in formats:
        raise InputError(
            f"{spec.name}: file_format {spec.file_format!r} does not serve the kind "
            f"{spec.kind!r}. {offer(spec.file_format, formats)}"
        )
    row = count()
    for path in paths:
        for place, record in _records(spec, path, split):
            number = next(row)
            if record is None:
                yield place, None
                continue
            texts = tuple(_text(spec, record, name, place) for name in spec.texts)
            label = _label(spec, record, place, is_labelled(split))
            if label in spec.drop_labels:
                yield place, None
                continue
            value = None if label is None else _value(spec, label, place)
            yield place, Example(id_of(record, spec.id_field, number, place), texts, value)


def _records(spec: TaskSpec, path: Path, split: str) -> Iterator[tuple[str, Any]]:
    """Where a record stands and what it holds, None for a broken row that the task leaves out."""
    if spec.file_format == "jsonl":
        return json_lines(path)
    drop_broken = spec.drop_broken_rows and is_labelled(split)
    return table_records(path, spec.file_format, spec.columns.get(split, ()), drop_broken)


def _text(spec: TaskSpec, record: Any, name: str, place: str) -> str:
    if spec.kind == "keywords" and isinstance(record, dict) and isinstance(record.get(name), list):
        return " ".join(checked(word, str, f"{place}: a part of {name!r}") for word in record[name])
    text = field_of(record, name, str, place)
    return _mark_spans(text, record, place) if spec.kind == "coreference" else text


def _label(spec: TaskSpec, record: Mapping[str, Any], place: str, labelled: bool) -> str | None:
    """The label as text: some copies of a set hold 1 or true where others hold "1" or "true"."""
    if not has_field(record, spec.label_field, place) and not labelled:
        return None
    label = field_of(record, spec.label_field, object, place)
    return label if isinstance(label, str) else json.dumps(label)


def _value(spec: TaskSpec, label: str, place: str) -> float:
    """The index of a class, or the number that regression is to give."""
    if spec.head == "classification":
        if label not in spec.labels:
            raise InputError(f"{place}: {spec.name} has no label {label!r}. {offer(label, spec.labels)}")
        return spec.labels.index(label)
    try:
        number = float(label)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{place}: {spec.label_field!r} is not a number: {label!r}.")
    return number


def _mark_spans(text: str, record: Mapping[str, Any], place: str) -> str:
    """A text of CLUEWSC with its spans as _noun_ and [pronoun], CLUE's and PaddleNLP's own marks."""
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


def _multiple_choice(spec: TaskSpec, paths: Sequence[Path], split: str) -> Rows:
    """C3: a list of passages [lines, questions, id]; the test files have ids of questions instead.

    The ids of m-train and d-train overlap, so an id made here begins with its file's name.
    """
    for path in paths:
        for number, passage in enumerate(checked(json_document(path), list, f"{path}: the file")):
            place = f"{path}: passage {number}"
            if len(checked(passage, list, place)) not in (2, 3):
                raise InputError(f"{place}: is not [lines, questions, id]: {shown(passage)}.")
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
                        label=_choice_label(question, choices, where, is_labelled(split)),
                        candidates=choices,
                    ),
                )


def choices_of(record: Any, name: str, place: str) -> tuple[str, ...]:
    """The field's choices, two or more."""
    choices = tuple(checked(word, str, f"{place}: a choice") for word in field_of(record, name, list, place))
    if len(choices) < 2:
        raise InputError(f"{place}: {name!r} holds {len(choices)} choices, at least 2 are needed.")
    return choices


def _choice_label(
    question: Mapping[str, Any],
    choices: tuple[str, ...],
    place: str,
    labelled: bool,
) -> int | None:
    if not has_field(question, "answer", place) and not labelled:
        return None
    answer = field_of(question, "answer", str, place)
    if answer not in choices:
        raise InputError(f"{place}: the answer {answer!r} is none of the choices. {offer(answer, choices)}")
    return choices.index(answer)


def _cloze(spec: TaskSpec, paths: Sequence[Path], split: str) -> Rows:
    """ChID: one example per blank. The first file holds the passages, the second, if any, the answers."""
    path, *answer_paths = paths
    if is_labelled(split) and not answer_paths:
        raise InputError(
            f"{path}: no file of answers with it. This split of {spec.name} needs two files: passages and answers."
        )
    answers = json_document(answer_paths[0]) if answer_paths else None
    for line, (place, record) in enumerate(json_lines(path)):
        candidates = choices_of(record, "candidates", place)
        for passage in field_of(record, "content", list, place):
            for blank in BLANK.finditer(checked(passage, str, f"{place}: a passage")):
                label = None
                if answers is not None:
                    label = field_of(answers, blank.group(), int, str(answer_paths[0]))
                    if not 0 <= label < len(candidates):
                        raise InputError(
                            f"{answer_paths[0]}: {blank.group()} is {label}, but its line has "
                            f"{len(candidates)} candidates ({place})."
                        )
                around = (passage[: blank.start()], passage[blank.end() :])
                texts = tuple(BLANK.sub(OTHER_BLANK, text) for text in around)
                yield place, Example(blank.group(), texts, label, candidates, group=str(line))


def _reading(spec: TaskSpec, paths: Sequence[Path], split: str) -> Rows:
    """CMRC2018 in the form of SQuAD 1.1. An answer that is not in the context starts at -1."""
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
                stated = _answers(question, where, is_labelled(split))
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


def _answers(question: Any, place: str, labelled: bool) -> tuple[Answer, ...]:
    if not has_field(question, "answers", place) and not labelled:
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


READERS: Mapping[str, Reader] = {
    "classification": _flat,
    "pair": _flat,
    "keywords": _flat,
    "coreference": _flat,
    "regression": _flat,
    "multiple_choice": _multiple_choice,
    "cloze": _cloze,
    "reading": _reading,
}
