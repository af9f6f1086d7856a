"""The tables that GLUE's site reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ernie_tiny.data.glue import GLUE
from ernie_tiny.data.task import Prediction, TaskSpec
from ernie_tiny.errors import InputError
from ernie_tiny.kinds.registry import kind_named
from ernie_tiny.leaderboard.clue import files_of, write_zip

STSB_RANGE = (0.0, 5.0)  # of the scores that people gave
SUBMITTED = {name: task for name, task in GLUE.items() if task.submission}


def write_glue_submission(predictions: Mapping[str, Mapping[str, Sequence[Prediction]]], target: Path) -> None:
    """Writes a zip of tables "index, prediction", one for each test split, at its top.

    The site takes a zip of all eleven tables; WNLI.tsv and AX.tsv are no tasks here and have to be added.

    Args:
        predictions: Task to test split to the answers to all of its rows: {"mnli": {"test": ..., "test_mismatched":
            ...}}.
    Raises:
        InputError: The ids are not 0 to the number of rows less 1, each once; an answer is no label of the task.
    """
    write_zip(files_of(predictions, SUBMITTED, _table), target)


def _table(spec: TaskSpec, split: str, predictions: Sequence[Prediction]) -> str:
    answers = {prediction.id: prediction for prediction in predictions}
    rows = ["index\tprediction\n"]
    for index in map(str, range(len(predictions))):
        if index not in answers:
            raise InputError(
                f"{spec.name}, {split}: of {len(predictions)} predictions none has the index {index}. "
                "Predict the whole split, each row once."
            )
        rows.append(f"{index}\t{_shown(spec, split, answers[index])}\n")
    return "".join(rows)


def _shown(spec: TaskSpec, split: str, prediction: Prediction) -> str:
    try:
        value = kind_named(spec.kind).submission.value(spec, prediction)
    except InputError as error:
        raise InputError(f"{split}: {error}") from error
    if isinstance(value, float):
        low, high = STSB_RANGE
        return f"{min(max(value, low), high):.6f}"
    return str(value)
