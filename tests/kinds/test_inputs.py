"""Inputs of a deployed model: each kind of task, and what is said of bad lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ernie_tiny.data.clue import CLUE
from ernie_tiny.data.task import TaskSpec
from ernie_tiny.errors import InputError
from ernie_tiny.kinds.read import read_inputs


def lines(tmp_path: Path, *records: Any) -> Path:
    path = tmp_path / "inputs.jsonl"
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


def test_flat_records_lose_their_labels_and_get_numbers_for_ids(tmp_path: Path) -> None:
    path = lines(tmp_path, {"sentence": "甲"}, {"sentence": "乙", "label": "999", "id": 7})
    examples = read_inputs(CLUE["tnews"], path)
    assert [(e.id, e.texts, e.label) for e in examples] == [("0", ("甲",), None), ("7", ("乙",), None)]


def test_a_row_labelled_minus_is_answered_too(tmp_path: Path) -> None:
    path = lines(tmp_path, {"sentence1": "甲", "sentence2": "乙", "label": "-"})
    assert len(read_inputs(CLUE["ocnli"], path)) == 1


def test_reading_and_choice_take_a_question_a_line(tmp_path: Path) -> None:
    record = {"context": "天是蓝的。", "question": "天是什么颜色？", "choice": ["蓝", "红"]}
    (reading,) = read_inputs(CLUE["cmrc2018"], lines(tmp_path, record))
    assert reading.texts == ("天是什么颜色？", "天是蓝的。")
    (choice,) = read_inputs(CLUE["c3"], lines(tmp_path, record))
    assert choice.texts == ("天是蓝的。", "天是什么颜色？") and choice.candidates == ("蓝", "红")


def test_cloze_gives_an_example_a_blank(tmp_path: Path) -> None:
    record = {"content": ["他#idiom000001#地走了，又#idiom000002#地来了。"], "candidates": ["不慌不忙", "兴高采烈"]}
    examples = read_inputs(CLUE["chid"], lines(tmp_path, record))
    assert [example.id for example in examples] == ["#idiom000001#", "#idiom000002#"]


@pytest.mark.parametrize(
    "task",
    [
        TaskSpec("mine", "classification", {}, ("text",), ("0", "1"), id_field="qid"),
        TaskSpec("mine", "labelling", {}, labels=("PER",), id_field="qid"),
        TaskSpec("mine", "multiple_choice", {}, id_field="qid"),
        TaskSpec("mine", "reading", {}, id_field="qid"),
    ],
    ids=lambda task: task.kind,
)
def test_ids_stand_in_the_field_that_the_task_names(tmp_path: Path, task: TaskSpec) -> None:
    record = {"text": "甲", "context": "乙", "question": "丙", "choice": ["丁", "戊"], "id": "other"}
    assert [example.id for example in read_inputs(task, lines(tmp_path, {**record, "qid": 7}, record))] == ["7", "1"]


@pytest.mark.parametrize(
    ("task", "records", "said"),
    [
        ("tnews", [{"text": "甲"}], "inputs.jsonl:1: no field 'sentence'"),
        ("cmrc2018", [{"context": "甲"}], "inputs.jsonl:1: no field 'question'"),
        ("c3", [{"context": "甲", "question": "乙", "choice": ["丙"]}], "at least 2 are needed"),
        ("tnews", [], "holds no input"),
        ("tnews", [{"sentence": "甲", "id": 1}, {"sentence": "乙", "id": 1}], "2 inputs have only 1 ids"),
    ],
)
def test_bad_inputs_are_named(tmp_path: Path, task: str, records: list, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_inputs(CLUE[task], lines(tmp_path, *records))
