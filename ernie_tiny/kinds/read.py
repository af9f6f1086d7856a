"""From the files of a task, or the lines that a deployed model is asked, to examples."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from ernie_tiny.data.task import Example, Split, TaskSpec
from ernie_tiny.errors import InputError, offer
from ernie_tiny.kinds.registry import kind_named


def read_split(spec: TaskSpec, root: Path, split: str, limit: Optional[int] = None) -> Split:
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
    for place, example in kind_named(spec.kind).read(spec, paths, split):
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


def read_inputs(spec: TaskSpec, path: Path) -> tuple[Example, ...]:
    """The examples of a file of JSON lines that a deployed model is asked; labels in it are ignored.

    A line is
    - classification, pairs, keywords, coreference, regression: a record of the task's own file
    - cloze: {"content": [passages with #idiom000000# blanks], "candidates": [...]}, one example a blank
    - multiple choice: {"context": ..., "question": ..., "choice": [...]}
    - reading: {"context": ..., "question": ...}
    A record without an "id" gets its number.

    Raises:
        InputError: path:line and what is wrong there; two examples of one id; no line at all.
    """
    examples = [found for _, found in kind_named(spec.kind).inputs(spec, path) if found is not None]
    if not examples:
        raise InputError(f"{path}: holds no input.")
    ids = {example.id for example in examples}
    if len(ids) != len(examples):
        raise InputError(f"{path}: {len(examples)} inputs have only {len(ids)} ids; give each an id of its own.")
    return tuple(examples)
