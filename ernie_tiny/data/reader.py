"""From the files of a task to its examples, for every kind of task.

Files are read line by line as bytes: only "\\n" ends a line (IFLYTEK's texts hold U+2028, at which
str.splitlines would break), and a fault in the encoding has a line number. A byte-order mark, as Excel
writes it, is dropped.
"""

from __future__ import annotations

import csv
import json
import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Callable, Optional

from ernie_tiny.data.task import Answer, Example, Split, TaskSpec
from ernie_tiny.data.wordpiece import SURROGATES
from ernie_tiny.errors import InputError, offer
from ernie_tiny.files import encoding_advice, file_head

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
        limit: Read the first `limit` examples only.
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
        if len(examples) == limit:
            break
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
    return Split(tuple(examples), dropped)


def _paths(spec: TaskSpec, root: Path, split: str) -> list[Path]:
    if not spec.files_of(split):
        raise InputError(f"{spec.name} has no split {split!r}. {offer(split, [*spec.files, *spec.held_out])}")
    for file in spec.files_of(split):
        if not (root / file).is_file():
            raise InputError(
                f"{root / file}: no such file. The split {split!r} of {spec.name} is read from "
                f"{file} below the data root {root}. tools/download_clue.py fetches CLUE."
            )
    return [root / file for file in spec.files_of(split)]


def _is_labelled(split: str) -> bool:
    return not split.startswith("test")


# Files to records.


def text_lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 file with their ends, without a byte-order mark."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{path}:{number}: is not UTF-8 ({error}). {encoding_advice(file_head(path))}"
                ) from error


def _json_document(path: Path) -> Any:
    try:
        return _parse("".join(text_lines(path)))
    except (ValueError, RecursionError) as error:
        place = f"{path}:{error.lineno}" if isinstance(error, json.JSONDecodeError) else path
        raise InputError(f"{place}: is not JSON ({error}). Is the file whole? Fetch it again.") from error


def json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Where a line stands and its JSON value, blank lines left out."""
    for number, line in enumerate(text_lines(path), start=1):
        if line.strip():
            try:
                value = _parse(line)
            except (ValueError, RecursionError) as error:
                at = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
                raise InputError(f"{path}:{number}: is not JSON ({at}). Every line holds one JSON object.") from error
            yield f"{path}:{number}", value


def _parse(text: str) -> Any:
    """The JSON value of a text. Half a surrogate pair in it, which no file can hold, becomes U+FFFD."""
    value = json.loads(text)
    return _whole(value) if "\\ud" in text or "\\uD" in text else value


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return SURROGATES.sub("\ufffd", value)
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return {_whole(key): _whole(item) for key, item in value.items()} if isinstance(value, dict) else value


_TABLES: Mapping[str, Mapping[str, Any]] = {
    "tsv": {"delimiter": "\t", "quoting": csv.QUOTE_NONE},  # a quotation mark in a TSV file is text
    "csv": {"strict": True},
}


def _records(spec: TaskSpec, path: Path, split: str) -> Iterator[tuple[str, Any]]:
    """Where a record stands and what it holds, None for a broken row that the task leaves out."""
    if spec.file_format == "jsonl":
        yield from json_lines(path)
        return
    rows = csv.DictReader(text_lines(path), spec.columns.get(split), **_TABLES[spec.file_format])
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise InputError(
                f"{path}:{rows.reader.line_num}: is not {spec.file_format.upper()} ({error}). In CSV a "
                "quotation mark inside quotes is doubled, and one that is not closed takes all that "
                "follows into its field."
            ) from error
        if row is None:
            return
        broken = None in row or None in row.values()
        if broken and not (spec.drop_broken_rows and _is_labelled(split)):
            header = ", ".join(rows.fieldnames or ())
            raise InputError(
                f"{path}:{rows.line_num}: has more or fewer columns than the header ({header}). Is "
                f"file_format = {spec.file_format!r} right? In CSV a text with a comma stands in quotes."
            )
        yield f"{path}:{rows.line_num}", None if broken else row


_JSON_NAMES = {dict: "an object", list: "a list", str: "text", int: "a whole number"}


def field_of(record: Any, name: str, kind: type, place: str) -> Any:
    """The field of a JSON object, checked to be there and of the kind."""
    if not isinstance(record, dict):
        raise InputError(f"{place}: is not an object with fields: {_shown(record)}.")
    if name not in record:
        near = [key for key in record if str(key).strip() == name]
        blank = f" {near[0]!r} differs by a blank: take it out of the file." if near else ""
        raise InputError(f"{place}: no field {name!r}. Fields here: {', '.join(map(str, record)) or 'none'}.{blank}")
    return _checked(record[name], kind, f"{place}: {name!r}")


def id_of(record: Any, field: str, otherwise: object, place: str) -> str:
    """The id of a record as text; `otherwise` where it has none, or null."""
    found = record.get(field)
    if found is None:
        return str(otherwise)
    if isinstance(found, bool) or not isinstance(found, (str, int)):
        raise InputError(f"{place}: {field!r} = {_shown(found)}: an id is a text or a whole number.")
    return str(found)


def _checked(value: Any, kind: type, place: str) -> Any:
    if not isinstance(value, kind):
        raise InputError(f"{place} is not {_JSON_NAMES[kind]}: {_shown(value)}.")
    return value


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."


# Records to examples.


def _flat(spec: TaskSpec, paths: Sequence[Path], split: str) -> Rows:
    """Classification, pairs, keywords, coreference and regression: a record a line."""
    formats = ("jsonl", *_TABLES)
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
            label = _label(spec, record, place, _is_labelled(split))
            if label in spec.drop_labels:
                yield place, None
                continue
            value = None if label is None else _value(spec, label, place)
            yield place, Example(id_of(record, spec.id_field, number, place), texts, value)


def _text(spec: TaskSpec, record: Any, name: str, place: str) -> str:
    if spec.kind == "keywords" and isinstance(record, dict) and isinstance(record.get(name), list):
        return " ".join(_checked(word, str, f"{place}: a part of {name!r}") for word in record[name])
    text = field_of(record, name, str, place)
    return _mark_spans(text, record, place) if spec.kind == "coreference" else text


def _label(spec: TaskSpec, record: Mapping[str, Any], place: str, labelled: bool) -> str | None:
    """The label as text: some copies of a set hold 1 or true where others hold "1" or "true"."""
    if spec.label_field not in record and not labelled:
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
    for span, opening, closing in (("span1", "_", "_"), ("span2", "[", "]")):
        words = field_of(target, f"{span}_text", str, place)
        start = field_of(target, f"{span}_index", int, place)
        if start < 0 or not text.startswith(words, start):
            raise InputError(
                f"{place}: {span}_text is {words!r}, but at {span}_index {start} stands "
                f"{text[max(start, 0) :][: len(words)]!r}."
            )
        spans.append((start, start + len(words), opening, closing))
    # From the later span to the earlier, so that no insertion moves an index that is still to be used.
    for start, end, opening, closing in sorted(spans, reverse=True):
        text = f"{text[:start]}{opening}{text[start:end]}{closing}{text[end:]}"
    return text


def _multiple_choice(spec: TaskSpec, paths: Sequence[Path], split: str) -> Rows:
    """C3: a list of passages [lines, questions, id]; the test files have ids of questions instead.

    The ids of m-train and d-train overlap, so an id made here begins with its file's name.
    """
    for path in paths:
        for number, passage in enumerate(_checked(_json_document(path), list, f"{path}: the file")):
            place = f"{path}: passage {number}"
            if len(_checked(passage, list, place)) not in (2, 3):
                raise InputError(f"{place}: is not [lines, questions, id]: {_shown(passage)}.")
            lines = [_checked(line, str, f"{place}: a line") for line in _checked(passage[0], list, place)]
            name = passage[2] if len(passage) == 3 else number
            for index, question in enumerate(_checked(passage[1], list, f"{place}: the questions")):
                where = f"{place}, question {index}"
                text = field_of(question, "question", str, where)
                choices = choices_of(question, "choice", where)
                yield (
                    where,
                    Example(
                        id=id_of(question, "id", f"{path.stem}-{name}-{index}", where),
                        texts=("\n".join(lines), text),
                        label=_choice_label(question, choices, where, _is_labelled(split)),
                        candidates=choices,
                    ),
                )


def choices_of(record: Any, name: str, place: str) -> tuple[str, ...]:
    """The field's choices, two or more."""
    choices = tuple(_checked(word, str, f"{place}: a choice") for word in field_of(record, name, list, place))
    if len(choices) < 2:
        raise InputError(f"{place}: {name!r} holds {len(choices)} choices, at least 2 are needed.")
    return choices


def _choice_label(
    question: Mapping[str, Any],
    choices: tuple[str, ...],
    place: str,
    labelled: bool,
) -> int | None:
    if "answer" not in question and not labelled:
        return None
    answer = field_of(question, "answer", str, place)
    if answer not in choices:
        raise InputError(f"{place}: the answer {answer!r} is none of the choices. {offer(answer, choices)}")
    return choices.index(answer)


def _cloze(spec: TaskSpec, paths: Sequence[Path], split: str) -> Rows:
    """ChID: one example per blank. The first file holds the passages, the second, if any, the answers."""
    path, *answer_paths = paths
    if _is_labelled(split) and not answer_paths:
        raise InputError(
            f"{path}: no file of answers with it. This split of {spec.name} needs two files: passages and answers."
        )
    answers = _json_document(answer_paths[0]) if answer_paths else None
    for line, (place, record) in enumerate(json_lines(path)):
        candidates = choices_of(record, "candidates", place)
        for passage in field_of(record, "content", list, place):
            for blank in BLANK.finditer(_checked(passage, str, f"{place}: a passage")):
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
        articles = field_of(_json_document(path), "data", list, str(path))
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
                stated = _answers(question, where, _is_labelled(split))
                answers = tuple(Answer(answer.text, _locate(answer, context)) for answer in stated)
                moved += sum(old.start != new.start >= 0 for old, new in zip(stated, answers))
                absent += sum(answer.start < 0 for answer in answers)
                field_of(question, "id", object, where)  # reading's answers are compared by it, so it must be there
                name = id_of(question, "id", f"{number}-{index}", where)
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
    if "answers" not in question and not labelled:
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
