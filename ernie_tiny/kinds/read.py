"""From the files of a task, or the lines that a deployed model is asked, to examples."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Callable, Optional

from ernie_tiny.data.records import json_lines
from ernie_tiny.data.task import UNLABELLED, Example, Split, TaskSpec
from ernie_tiny.errors import InputError, offer
from ernie_tiny.kinds.kind import Records, Rows
from ernie_tiny.kinds.registry import kind_named

logger = logging.getLogger(__name__)


def read_split(spec: TaskSpec, root: Path, split: str) -> Split:
    """The examples of one split in file order, and the number of rows that were dropped for their label.

    Args:
        spec: The task.
        root: The data root, to which the spec's files are relative.
        split: One of spec.files or spec.held_out. A split named test... may lack labels, and those of "unlabelled" are
            taken off, which is said of files that have some; every other split must have them.
    Raises:
        InputError: As "path:line: reason" (nested files: "path: place: reason"), for an unknown split, a
            missing or empty file, broken JSON or UTF-8, a missing field, an unknown label, or an id that
            stands twice.
    """
    paths = _paths(spec, Path(root), split)
    examples: list[Example] = []
    places: dict[str, str] = {}
    dropped = 0
    rows = _unlabelled_rows(spec, paths) if split == UNLABELLED else kind_named(spec.kind).read(spec, paths, split)
    for place, example in rows:
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


def split_reader(spec_of: Callable[[str], TaskSpec], root: Path) -> Callable[[str, str, Optional[int]], Split]:
    """A function from (task, split, limit) to what `read_split` gives, which reads each split once and keeps it.

    With a limit so many of the examples are drawn by the hash of their texts, the same ones each time.
    """
    whole = cache(lambda task, split: read_split(spec_of(task), root, split))

    @cache
    def read(task: str, split: str, limit: Optional[int]) -> Split:
        found: Split = whole(task, split)
        return dataclasses.replace(found, examples=tuple(_drawn(found.examples, limit)))

    return read


def _unlabelled_rows(spec: TaskSpec, paths: Sequence[Path]) -> Rows:
    """The rows of files in the task's own form, then those of JSON lines of questions where that is another form.

    An id of such a line that stands in a file before gets the file's name before it: it may be no more than a number.
    """
    kind = kind_named(spec.kind)
    own_lines = spec.file_format == "jsonl" and kind.facts.held_out
    asked = [path for path in paths if path.suffix == ".jsonl" and not own_lines]
    own = [path for path in paths if path not in asked]
    labels, ids = 0, set[str]()

    def questions(path: Path) -> Records:
        nonlocal labels
        for place, record in json_lines(path):
            labels += isinstance(record, dict) and record.get(spec.label_field) not in (None, "")
            yield place, record

    for place, example in kind.read(spec, own, UNLABELLED) if own else ():
        if example is not None:
            labels += example.label is not None or bool(example.answers)
            example = dataclasses.replace(example, label=None, answers=())
            ids.add(example.id)
        yield place, example
    for path in asked:
        names = set()
        for place, example in kind.inputs(spec, questions(path)):
            if example is not None:
                name = example.id
                while name in ids:
                    name = f"{path.stem}-{name}"
                names.add(name)
                yield place, dataclasses.replace(example, id=name)
        ids |= names
    if labels and UNLABELLED not in spec.held_out:
        logger.warning(
            "%s: %s rows of its unlabelled files have a label, which is not looked at. To learn from it, name the file "
            "under train.",
            *(spec.name, f"{labels:,}"),
        )


def _drawn(examples: Sequence[Example], limit: Optional[int]) -> Sequence[Example]:
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


def missing_file(spec: TaskSpec, root: Path, split: str, file: str) -> InputError:
    """The error of a task's file that is not there."""
    fetch = ", or fetch it: python tools/download_clue.py --root DIR" if file.startswith("clue/") else ""
    return InputError(
        f"{root / file}: no such file. The split {split!r} of {spec.name} is read from {file} below data.root, {root}. "
        f"Put it there, or point data.root at the folder that holds it{fetch}."
    )


def _paths(spec: TaskSpec, root: Path, split: str) -> list[Path]:
    if not spec.files_of(split):
        raise InputError(f"{spec.name} has no split {split!r}. {offer(split, [*spec.files, *spec.held_out])}")
    for file in spec.files_of(split):
        if not (root / file).is_file():
            raise missing_file(spec, root, split, file)
    paths = [root / file for file in spec.files_of(split)]
    twice = [path for path, times in Counter(path.resolve() for path in paths).items() if times > 1]
    if twice:
        raise InputError(f"{spec.name}: the split {split!r} names {twice[0]} twice, which would count its rows twice.")
    return paths


def read_inputs(spec: TaskSpec, path: Path) -> tuple[Example, ...]:
    """The examples of a file of JSON lines that a deployed model is asked; labels in it are ignored.

    A line is
    - classification, pairs, keywords, coreference, regression: a record of the task's own file
    - cloze: {"content": [passages with #idiom000000# blanks], "candidates": [...]}, one example a blank
    - multiple choice: {"context": ..., "question": ..., "choice": [...]}
    - reading: {"context": ..., "question": ...}
    - labelling: {"text": ...}
    A record without an id in the task's id_field gets its number.

    Raises:
        InputError: path:line and what is wrong there; two examples of one id; no line at all.
    """
    examples = examples_of(spec, json_lines(path))
    if not examples:
        raise InputError(f"{path}: holds no input.")
    ids = {example.id for example in examples}
    if len(ids) != len(examples):
        raise InputError(f"{path}: {len(examples)} inputs have only {len(ids)} ids; give each an id of its own.")
    return examples


def examples_of(spec: TaskSpec, records: Records) -> tuple[Example, ...]:
    """The examples of records as `read_inputs` describes them, from wherever they come.

    Raises:
        InputError: where a record stands, and what is wrong there.
    """
    return tuple(found for _, found in kind_named(spec.kind).inputs(spec, records) if found is not None)
