"""CLUE's leaderboard bundle: a zip with one file for each test split at its top.

The site's own example cannot be fetched without it, so the form is that of three independent writers: CLUE's TensorFlow
baseline (baselines/models/bert/run_classifier.py), its PaddleNLP baseline (baselines/paddlenlp) and
bojone/CLUE-bert4keras. They disagree on ids: a record's own id is written here, as a number.

- classification: {"id": 0, "label": "neutral"} a line, in the order of the test file; a label goes by its name
- multiple choice: the same, the label the index of the choice
- reading, cloze: one object of all answers, question id to text, blank to the index of its candidate
"""

from __future__ import annotations

import dataclasses
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Callable

from ernie_tiny.data.clue import SUBMITTED
from ernie_tiny.data.task import Example, Prediction, TaskSpec
from ernie_tiny.errors import InputError
from ernie_tiny.files import to_json
from ernie_tiny.kinds.read import read_split
from ernie_tiny.kinds.registry import kind_named

BOARDS = ("test", "test1.0")  # the test splits of CLUE 1.1 and of CLUE 1.0


def split_of(spec: TaskSpec, board: str) -> str:
    """The test split of the task that a board scores; both score the same one of most tasks."""
    return board if board in spec.submission else next(iter(spec.submission))


def read_questions(spec: TaskSpec, root: Path, split: str) -> tuple[Example, ...]:
    """Every example of a test split in file order; of classes, labels that the file may have are not looked at.

    Raises:
        InputError: Those of read_split.
    """
    return read_split(dataclasses.replace(spec, label_field="", drop_labels=()), root, split).examples


def write_submission(predictions: Mapping[str, Mapping[str, Sequence[Prediction]]], target: Path) -> None:
    """Writes the zip; the same predictions give the same bytes.

    Args:
        predictions: Task to test split to the answers to all of its examples, in the order of the test file.
    Raises:
        InputError: An id or an answer is none of the task's.
    """
    write_zip(files_of(predictions, SUBMITTED, _content), target)


def files_of(
    predictions: Mapping[str, Mapping[str, Sequence[Prediction]]],
    tasks: Mapping[str, TaskSpec],
    content: Callable[[TaskSpec, str, Sequence[Prediction]], str],
) -> dict[str, str]:
    """The name of each file of a leaderboard to what `content` makes of a task's answers to a test split."""
    return {
        tasks[task].submission[split]: content(tasks[task], split, answers)
        for task, splits in predictions.items()
        for split, answers in splits.items()
    }


def write_zip(contents: Mapping[str, str], target: Path) -> None:
    """Writes texts as files at the top of a zip; the same texts give the same bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    with zipfile.ZipFile(partial, "w") as archive:
        for name, content in contents.items():
            member = zipfile.ZipInfo(name)  # of a fixed date
            member.external_attr = 0o644 << 16
            archive.writestr(member, content.encode("utf-8"), zipfile.ZIP_DEFLATED)
    os.replace(partial, target)


def _content(spec: TaskSpec, split: str, predictions: Sequence[Prediction]) -> str:
    submission = kind_named(spec.kind).submission
    answers = {prediction.id: submission.value(spec, prediction) for prediction in predictions}
    if submission.one_object:
        return to_json(answers, indent=1) + "\n"
    records = ({"id": _number(spec, name), "label": answer} for name, answer in answers.items())
    return "".join(to_json(record) + "\n" for record in records)


def _number(spec: TaskSpec, name: str) -> int:
    if not name.isdecimal():
        raise InputError(
            f"{spec.name}: the id {name!r} is no whole number, as all of its test files have. Are the "
            "files CLUE's? tools/download_clue.py fetches them."
        )
    return int(name)
