"""Files of a teacher's answers: rows of JSON lines, TSV or CSV, each with an example's logits, probabilities or label.

A row names its example by its id, or states its texts as the task's own files do. The rows that tools/infer.py and
tools/evaluate.py write ("answer", "scores") are such rows.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np

from ernie_tiny.batch import Array
from ernie_tiny.data.records import cut_json, has_field, id_of, json_lines, table_records
from ernie_tiny.data.task import Example, TaskSpec
from ernie_tiny.errors import InputError, offer
from ernie_tiny.kinds.recorded import Answer, Recorded
from ernie_tiny.kinds.registry import kind_named
from ernie_tiny.models.forms import MASKED_LOGIT

LOGITS, PROBABILITIES, LABEL = "logits", "probabilities", "label"
FIELDS = {LOGITS: ("logits",), PROBABILITIES: ("probabilities", "scores"), LABEL: ("label", "answer")}
LARGEST = 1e30  # of a number, which float32 is to hold
TOLERANCE = 0.02  # of a sum of probabilities, which may be rounded; they are divided by it
Examples = Mapping[str, Sequence[Example]]  # by split
Answers = dict[tuple[str, str], Answer]  # by split and id
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """What is read, and what it must hold.

    Attributes:
        path: The file.
        key: Of the config, dotted, which names the stage's teacher.
        smoothing: teacher.label_smoothing; None where the config does not state it.
        logits_only: Whether a term compares logits themselves, which follow from no probabilities.
    """

    path: Path
    key: str
    smoothing: Optional[float] = None
    logits_only: bool = False


def read_answers(spec: TaskSpec, reading: Reading, known: Examples, wanted: Examples) -> Answers:
    """The answers of a file by split and id; rows of no example are left out, which is said.

    Args:
        known: All examples of the splits that the stage trains on.
        wanted: Those of them that it draws, each of which must have an answer.
    Raises:
        InputError: path:line and what is wrong there; or the first example without an answer.
    """
    recorded = recorded_of(spec, reading.key)
    find = _Index(spec, recorded, known)
    found: Answers = {}
    places: dict[tuple[str, str], str] = {}
    strangers: list[str] = []
    for place, record in _rows(reading.path):
        if not isinstance(record, dict):
            raise InputError(f"{place}: is not an object with fields: {cut_json(record)}.")
        examples = find(record, place)
        if not examples:
            strangers.append(place)
        for split, example in examples:
            key = split, example.id
            answer = _answer(spec, recorded, reading, example, record, place)
            if not answer.agrees(found.get(key, answer)):
                raise InputError(
                    f"{place}: example {example.id!r} is answered otherwise at {places[key]}. Take one of them out."
                )
            found[key], places[key] = answer, place
    if strangers:
        logger.warning(
            "%s: %s rows answer no example of %s in %s, and are left out; the first is %s.",
            *(reading.path, f"{len(strangers):,}", spec.name, " or ".join(known), strangers[0]),
        )
    asked = [(split, example.id) for split, examples in wanted.items() for example in examples]
    missing = [key for key in asked if key not in found]
    if missing:
        raise InputError(
            f"{reading.path}: {len(missing):,} of {len(asked):,} examples of {spec.name} have no answer; the first is "
            f"{missing[0][1]!r} of {missing[0][0]}. Have them answered, or take them out of the task's files."
        )
    return found


def recorded_of(spec: TaskSpec, key: str) -> Recorded:
    """How the task's kind takes recorded answers; an InputError where it does not."""
    recorded = kind_named(spec.kind).recorded
    if recorded is None:
        raise InputError(
            f"{key}: the kind {spec.kind} of {spec.name} takes no recorded answers. Name a model as teacher."
        )
    return recorded


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    if not path.is_file():
        raise InputError(f"{path}: no such file of answers. It is relative to data.root.")
    form = path.suffix[1:]
    return table_records(path, form, (), drop_broken=False) if form in ("tsv", "csv") else json_lines(path)


class _Index:
    """Gives the examples that a row answers, with their splits: by id, or by texts."""

    def __init__(self, spec: TaskSpec, recorded: Recorded, known: Examples) -> None:
        self._spec, self._recorded = spec, recorded
        self._by_id: dict[str, list[tuple[str, Example]]] = defaultdict(list)
        self._by_texts: dict[tuple[str, ...], list[tuple[str, Example]]] = defaultdict(list)
        for split, examples in known.items():
            for example in examples:
                self._by_id[example.id].append((split, example))
                self._by_texts[example.texts + example.candidates].append((split, example))

    def __call__(self, record: dict[str, Any], place: str) -> list[tuple[str, Example]]:
        for name in dict.fromkeys(("id", self._spec.id_field)):
            if has_field(record, name, place) and record[name] not in (None, ""):
                found = self._by_id.get(id_of(record, name, None, place), [])
                if len(found) > 1:
                    raise InputError(
                        f"{place}: the id {found[0][1].id!r} stands in {' and in '.join(split for split, _ in found)}. "
                        "Give the rows of the task's files ids of their own, or answer by text."
                    )
                self._require_texts(record, found, place)
                return found
        try:
            texts = self._recorded.texts(self._spec, record, place) + self._recorded.candidates(record, place)
            return self._by_texts.get(texts, [])
        except InputError as error:
            raise InputError(f"{error} An answer has the 'id' of its example, or its texts.") from None

    def _require_texts(self, record: dict[str, Any], found: Sequence[tuple[str, Example]], place: str) -> None:
        """Ids may be numbers of rows, which are other rows' once the files are sorted anew."""
        parts: Mapping[str, Callable[[], tuple[str, ...]]] = {
            "texts": lambda: self._recorded.texts(self._spec, record, place),
            "candidates": lambda: self._recorded.candidates(record, place),
        }
        for part, state in parts.items():
            try:
                stated = state()
            except InputError:  # not all that a row with an id may leave out
                continue
            for split, example in found:
                if stated != getattr(example, part):
                    own, other = (cut_json(" ".join(texts)) for texts in (getattr(example, part), stated))
                    raise InputError(
                        f"{place}: answers the id {example.id!r} with the {part} {other}, and in {split} these are "
                        f"{own}. Mend the ids, or take them out: texts are enough."
                    )


def _answer(
    spec: TaskSpec, recorded: Recorded, reading: Reading, example: Example, record: dict[str, Any], place: str
) -> Answer:
    names = recorded.options(spec, example)
    form, value = _stated(record, recorded)
    if form is None:
        raise InputError(
            f"{place}: holds neither logits, probabilities nor a label. Fields here: {', '.join(record) or 'none'}."
        )
    if form == LABEL:
        if recorded.softened is not None:
            _check_label_alone(reading, place)
        return Answer(recorded.labelled(spec, example, value, place), len(names))
    if form == PROBABILITIES and reading.logits_only:
        raise InputError(f"{place}: logit_mse needs logits, and they follow from no probabilities. Take soft.")
    rows = recorded.decisions(example)
    if rows is None:
        return Answer(example, len(names), _numbers(value, names, form, place))
    if not isinstance(value, list) or len(value) != rows:
        raise InputError(f"{place}: {form} must be a list of {rows} rows, one a character, and is {cut_json(value)}.")
    numbers = np.array([_numbers(row, names, form, place) for row in value], np.float32).reshape(rows, len(names))
    return Answer(example, len(names), numbers)


def _stated(record: dict[str, Any], recorded: Recorded) -> tuple[Optional[str], Any]:
    """The fullest form of answer that a row has, and its value; columns such as "logits.NAME" are one."""
    for form, fields in FIELDS.items():
        if form != LABEL and recorded.softened is None:  # a number is all that there is
            continue
        for field in fields:
            value = record.get(field)
            if value not in (None, "") and (form == LABEL or value != []):  # no entities are an answer, no numbers none
                return form, value
            columns = {name[len(field) + 1 :]: value for name, value in record.items() if name.startswith(f"{field}.")}
            if columns and form != LABEL:
                return form, columns
    return None, None


def _check_label_alone(reading: Reading, place: str) -> None:
    if reading.logits_only:
        raise InputError(f"{place}: logit_mse needs logits, and here is a label alone. Take soft.")
    if reading.smoothing is None:
        raise InputError(
            f"{place}: here is a label alone. State how much of the probability the others get: "
            f"{reading.key}.label_smoothing, as in 0.1."
        )


def _numbers(value: Any, names: Sequence[str], form: str, place: str) -> Array:
    """float32 logits [options]."""
    if isinstance(value, dict):
        for name in value:
            if name not in names:
                raise InputError(f"{place}: {form} holds {name!r}, which is no option. {offer(str(name), names)}")
        lacking = [name for name in names if name not in value]
        if lacking:
            raise InputError(f"{place}: {form} lacks {', '.join(map(repr, lacking[:5]))}. Give all {len(names)}.")
        value = [value[name] for name in names]
    if not isinstance(value, list) or len(value) != len(names):
        raise InputError(
            f"{place}: {form} must be {len(names)} numbers ({', '.join(names[:5])}), not {cut_json(value)}."
        )
    numbers = [_number(each, form, place) for each in value]
    if form == LOGITS:
        return np.array(numbers, np.float32)
    if min(numbers) < 0:
        raise InputError(f"{place}: probabilities holds {min(numbers):g}, which is below 0.")
    if abs(sum(numbers) - 1) > TOLERANCE:
        raise InputError(f"{place}: the probabilities {cut_json(numbers)} add up to {sum(numbers):.6g}, and must to 1.")
    return np.array([math.log(number / sum(numbers)) if number else MASKED_LOGIT for number in numbers], np.float32)


def _number(value: Any, form: str, place: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not abs(number) < LARGEST:  # NaN is not, either
        raise InputError(f"{place}: {form} holds {cut_json(value)}, which is no number.")
    return number
