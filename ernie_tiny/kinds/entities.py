"""From files to entities: column files with a character, or a word, and its tag a line, and CLUENER's JSON lines."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional

import numpy as np

from ernie_tiny.batch import Array
from ernie_tiny.data.records import checked, cut_json, field_of, id_of, json_lines, text_lines
from ernie_tiny.data.task import UNLABELLED, Example, TaskSpec, is_labelled
from ernie_tiny.errors import InputError, offer
from ernie_tiny.kinds.kind import Rows, check_label
from ernie_tiny.kinds.tags import OUTSIDE, PREFIXES, spans_of, tag_names

BLANKS = re.compile(r"[ \t]+")  # between columns
# A character, which may be a blank itself, and its tag, which a test file may lack.
COLUMNS = re.compile(r"([ \t]|[^ \t]+)(?:[ \t]+(\S+))?\s*")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entity:
    """A stretch of a text with a type.

    Attributes:
        text: The characters [start, end) of the text.
        score: The mean probability of its tokens' tags; 1 of a reference.
    """

    text: str
    type: str
    start: int
    end: int
    score: float = 1.0


def read(spec: TaskSpec, paths: Sequence[Path], split: str) -> Rows:
    """Column files ("conll": a character and its tag a line, a blank line between texts), or CLUENER's JSON lines."""
    if spec.file_format == "jsonl":
        return _read_records(spec, paths, split)
    if spec.file_format == "conll":
        return _read_columns(spec, paths, split)
    raise InputError(
        f"{spec.name}: file_format {spec.file_format!r} does not serve the kind {spec.kind!r}. "
        f"{offer(spec.file_format, ('conll', 'jsonl'))}"
    )


def _read_records(spec: TaskSpec, paths: Sequence[Path], split: str) -> Rows:
    """{"text": ..., "label": {type: {words: [[first, last], ...]}}} a line, places in characters, the last included."""
    number = 0
    for path in paths:
        for place, record in json_lines(path):
            text = field_of(record, "text", str, place)
            name = id_of(record, spec.id_field, number, place)
            if split == UNLABELLED or (not is_labelled(split) and record.get("label") is None):
                answers = ((),) if record.get("label") is not None else ()
                yield place, Example(name, (text,), answers=answers)
            else:
                found = _by_type(spec, text, field_of(record, "label", dict, place), place)
                yield place, Example(name, (text,), answers=(found,))
            number += 1


def _by_type(spec: TaskSpec, text: str, label: Any, place: str) -> tuple[Entity, ...]:
    """The entities of CLUENER's form."""
    found: list[Entity] = []
    for name in label:
        check_label(spec, name, place)
        for words, places in field_of(label, name, dict, place).items():
            for first, last in places_of(places, f"{place}: {name}, {words!r}"):
                if text[first : last + 1] != words:
                    raise InputError(
                        f"{place}: {name} is {words!r}, but at {first} to {last} stands {text[first : last + 1]!r}. "
                        "Places are characters from 0, the last one included."
                    )
                found.append(Entity(words, name, first, last + 1))
    return _apart(found, place)


def recorded_entities(spec: TaskSpec, example: Example, value: Any, place: str) -> Example:
    """The example with the entities that a row states: in CLUENER's form, or as tools/infer.py gives them."""
    text = example.texts[0]
    if isinstance(value, dict):
        return replace(example, answers=(_by_type(spec, text, value, place),))
    found: list[Entity] = []
    for item in checked(value, list, f"{place}: the entities"):
        name = field_of(item, "type", str, place)
        start, end = (field_of(item, end, int, place) for end in ("start", "end"))
        check_label(spec, name, place)
        words = text[max(start, 0) : max(end, 0)]
        if not 0 <= start < end <= len(text) or item.get("text", words) != words:
            raise InputError(
                f"{place}: {cut_json(item)} does not stand there: from {start} to {end} of {len(text)} characters "
                f"stands {words!r}. Places are characters from 0, the end not included."
            )
        found.append(Entity(words, name, start, end))
    return replace(example, answers=(_apart(found, place),))


def places_of(places: Any, place: str) -> Iterator[tuple[int, int]]:
    """The pairs (first, last) of a JSON list of places in characters."""
    for pair in places if isinstance(places, list) else [None]:
        if not (isinstance(pair, list) and len(pair) == 2 and all(type(each) is int and each >= 0 for each in pair)):
            raise InputError(f"{place}: {cut_json(places)} is no list of places such as [[9, 11]].")
        yield pair[0], pair[1]


def _apart(entities: Sequence[Entity], place: str) -> tuple[Entity, ...]:
    """The entities in the order of the text, which no two may share a part of."""
    ordered = sorted(entities, key=lambda entity: (entity.start, entity.end))
    for one, other in zip(ordered, ordered[1:]):
        if other.start < one.end:
            raise InputError(
                f"{place}: {one.text!r} ({one.type}) and {other.text!r} ({other.type}) overlap. A character has one "
                "tag: leave one of them out."
            )
    return tuple(ordered)


def _read_columns(spec: TaskSpec, paths: Sequence[Path], split: str) -> Rows:
    number = 0
    for path in paths:
        broken, first_broken = 0, 0
        for line, characters, tags in _texts(spec, path, split):
            text, starts, ends = _joined(characters)
            if not tags or split == UNLABELLED:
                yield f"{path}:{line}", Example(str(number), (text,), answers=((),) if tags else ())
                number += 1
                continue
            spans, faults = spans_of(tags, spec.scheme)
            if faults:
                broken, first_broken = broken + faults, first_broken or line
            entities = tuple(
                Entity(text[starts[first] : ends[end - 1]], name, int(starts[first]), int(ends[end - 1]))
                for name, first, end in spans
            )
            yield f"{path}:{line}", Example(str(number), (text,), answers=(entities,))
            number += 1
        if broken:
            logger.warning(
                "%s: %d sequences of tags do not keep to %s and count as no entity; the first is in the text that "
                "begins on line %d.",
                *(path, broken, spec.scheme.upper(), first_broken),
            )


def _joined(pieces: Sequence[str]) -> tuple[str, Array, Array]:
    """The text of a column file's pieces, a space between two words, and where in it each begins and ends."""
    gaps = [0, *(int(_are_words(one, other)) for one, other in zip(pieces, pieces[1:]))]
    ends = np.cumsum([gap + len(piece) for gap, piece in zip(gaps, pieces)])
    return "".join(" " * gap + piece for gap, piece in zip(gaps, pieces)), ends - [len(piece) for piece in pieces], ends


def _are_words(one: str, other: str) -> bool:
    """Whether letters or digits of a script with spaces would touch; single ones are a word's, cut by characters."""
    return len(one) + len(other) > 2 and _sets_spaces(one[-1]) and _sets_spaces(other[0])


def _sets_spaces(character: str) -> bool:
    """Whether it is a digit, or a letter of the Latin, Greek or Cyrillic script."""
    return character.isalnum() and (character < "\u0530" or "\u1e00" <= character < "\u2000")


def _texts(spec: TaskSpec, path: Path, split: str) -> Iterator[tuple[int, list[str], list[str]]]:
    """Of each text of a column file its first line, its characters and their tags; no tags of one without labels."""
    known = set(tag_names(spec.labels, spec.scheme))
    characters: list[str] = []
    tags: list[str] = []
    line = 0
    for line, content in enumerate(text_lines(path), start=1):
        content = content.rstrip("\r\n")
        if not content.strip(" \t"):
            if characters:
                yield line - len(characters), characters, tags
                characters, tags = [], []
            continue
        character, tag = _columns(content, f"{path}:{line}")
        if split != UNLABELLED:
            if tag is None and (tags or is_labelled(split)):
                raise InputError(f"{path}:{line}: {_no_columns(content)}")
            if tag is not None and len(tags) < len(characters):
                raise InputError(
                    f"{path}:{line}: {content!r} has a tag, and line {line - len(characters)}, where its text begins, "
                    "has none. Tag every character of a text, or none."
                )
            if tag is not None and tag not in known:
                raise InputError(f"{path}:{line}: {_unknown(spec, tag)}")
        characters.append(character)
        tags += [tag] if tag is not None else []
    if characters:
        yield line + 1 - len(characters), characters, tags


def _columns(content: str, place: str) -> tuple[str, Optional[str]]:
    """The character of a line and its tag, if there is one."""
    found = COLUMNS.fullmatch(content)
    if found is not None:
        return found[1], found[2]
    columns = BLANKS.split(content.strip(" \t"))
    if len(columns) <= 2:
        raise InputError(f"{place}: {_no_columns(content)}")
    raise InputError(
        f"{place}: {content!r} has {len(columns)} columns, and must have two: a character, or a word without blanks, "
        f"and its tag. Take out {', '.join(map(repr, columns[1:-1]))}."
    )


def _no_columns(content: str) -> str:
    return f"{content!r} is no character and its tag with a space or a tab between."


def _unknown(spec: TaskSpec, tag: str) -> str:
    prefix, dash, name = tag.partition("-")
    if dash and prefix in PREFIXES[spec.scheme]:
        return f"{spec.name} has no label {name!r}. {offer(name, spec.labels)}"
    return (
        f"the tag {tag!r} is none of {spec.scheme.upper()}: {OUTSIDE}, or one of "
        f"{', '.join(dict.fromkeys(PREFIXES[spec.scheme]))} with - and a label. Is scheme = {spec.scheme!r} right?"
    )
