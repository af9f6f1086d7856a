"""JSON lines that a deployed model is asked, as examples without labels."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ernie_tiny.data.reader import READERS, choices_of
from ernie_tiny.data.records import field_of, id_of, json_lines
from ernie_tiny.data.task import Example, TaskSpec
from ernie_tiny.errors import InputError


def read_inputs(spec: TaskSpec, path: Path) -> tuple[Example, ...]:
    """The examples of a file of JSON lines; labels in it are ignored.

    A line is
    - classification, pairs, keywords, coreference: a record of the task's own file
    - cloze: {"content": [passages with #idiom000000# blanks], "candidates": [...]}, one example a blank
    - multiple choice: {"context": ..., "question": ..., "choice": [...]}
    - reading: {"context": ..., "question": ...}
    A record without an "id" gets its number.

    Raises:
        InputError: path:line and what is wrong there; two examples of one id; no line at all.
    """
    if spec.kind in ("multiple_choice", "reading"):
        examples = [_question(spec, record, place, number) for number, (place, record) in enumerate(json_lines(path))]
    else:
        unlabelled = dataclasses.replace(spec, file_format="jsonl", label_field="", drop_labels=())
        examples = [found for _, found in READERS[spec.kind](unlabelled, [path], "test") if found is not None]
    if not examples:
        raise InputError(f"{path}: holds no input.")
    ids = {example.id for example in examples}
    if len(ids) != len(examples):
        raise InputError(f"{path}: {len(examples)} inputs have only {len(ids)} ids; give each an id of its own.")
    return tuple(examples)


def _question(spec: TaskSpec, record: object, place: str, number: int) -> Example:
    context, question = (field_of(record, name, str, place) for name in ("context", "question"))
    name = id_of(record, "id", number, place)
    if spec.kind == "reading":
        return Example(name, (question, context))
    return Example(name, (context, question), candidates=choices_of(record, "choice", place))
