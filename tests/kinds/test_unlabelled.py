"""Texts without labels: how the files of each kind are read, and what their examples become in a batch."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from ernie_tiny.batch import NO_LABEL, UNKNOWN
from ernie_tiny.data.batching import collate
from ernie_tiny.data.task import UNLABELLED, Answer, Example, Split, TaskSpec
from ernie_tiny.data.tokenizer import SPECIAL_TOKENS, Tokenizer
from ernie_tiny.errors import InputError
from ernie_tiny.kinds.ask import featurise
from ernie_tiny.kinds.entities import Entity
from ernie_tiny.kinds.read import read_split
from ernie_tiny.kinds.registry import kind_named

TOKENIZER = Tokenizer([*SPECIAL_TOKENS, *"甲乙丙丁戊□"])
FLAT: dict[str, Any] = {"texts": ("text",), "labels": ("no", "yes")}


def task(kind: str, *files: str, **fields: Any) -> TaskSpec:
    return TaskSpec("mine", kind, files={UNLABELLED: files}, **fields)


def lines(*records: Any) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def read(root: Path, spec: TaskSpec, *contents: str) -> Split:
    for file, content in zip(spec.files[UNLABELLED], contents):
        (root / file).write_text(content, encoding="utf-8")
    return read_split(spec, root, UNLABELLED)


CHOICES = {"question": "丁", "choice": ["甲", "乙"]}
SQUAD = {"data": [{"paragraphs": [{"context": "甲乙丙", "qas": [{"id": "q", "question": "丁"}]}]}]}
CASES = {
    "jsonl": (task("classification", "a.jsonl", **FLAT), lines({"text": "甲"}, {"text": "乙"}), ["甲", "乙"]),
    "csv": (task("classification", "a.csv", file_format="csv", **FLAT), "text\n甲\n乙\n", ["甲", "乙"]),
    "csv beside lines": (task("classification", "a.jsonl", file_format="csv", **FLAT), lines({"text": "甲"}), ["甲"]),
    "tsv without header": (
        task("classification", "a.tsv", file_format="tsv", columns={UNLABELLED: ("text",)}, **FLAT),
        "甲\n乙\n",
        ["甲", "乙"],
    ),
    "regression": (task("regression", "a.jsonl", texts=("text",)), lines({"text": "甲"}), ["甲"]),
    "choice": (task("multiple_choice", "a.json"), json.dumps([[["甲乙"], [CHOICES], "1"]]), ["甲乙丁"]),
    "questions": (task("multiple_choice", "a.jsonl"), lines({"context": "甲乙", **CHOICES}), ["甲乙丁"]),
    "reading": (task("reading", "a.json"), json.dumps(SQUAD), ["丁甲乙丙"]),
    "cloze": (
        task("cloze", "a.json"),
        lines({"content": ["甲#idiom000001#乙"], "candidates": ["丙", "丁"]}),
        ["甲乙"],
    ),
    "columns": (task("labelling", "a.txt", labels=("PER",), file_format="conll"), "甲\n乙\n\n丙\n", ["甲乙", "丙"]),
    "entities": (task("labelling", "a.jsonl", labels=("PER",), file_format="conll"), lines({"text": "甲乙"}), ["甲乙"]),
}


@pytest.mark.parametrize("case", CASES)
def test_files_of_each_kind(case: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec, content, texts = CASES[case]
    found = read(tmp_path, spec, content)
    assert ["".join(example.texts) for example in found.examples] == texts and found.dropped == 0
    assert all(example.label is None and not example.answers for example in found.examples)
    assert not caplog.records


LABELLED = {
    "classification": (task("classification", "a.jsonl", **FLAT), lines({"text": "甲", "label": "unheard of"})),
    "choice": (task("multiple_choice", "a.json"), json.dumps([[["甲乙"], [{**CHOICES, "answer": "戊"}], "1"]])),
    "reading": (
        task("reading", "a.json"),
        json.dumps(SQUAD).replace('"id"', '"answers": [{"text": "x"}], "id"'),
    ),
    "columns": (task("labelling", "a.txt", labels=("PER",), file_format="conll"), "甲 B-WHO\n乙 O\n"),
    "entities": (task("labelling", "a.jsonl", labels=("PER",)), lines({"text": "甲", "label": {"WHO": 1}})),
}


@pytest.mark.parametrize("case", LABELLED)
def test_labels_are_not_looked_at_which_is_said(case: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec, content = LABELLED[case]
    (example,) = read(tmp_path, spec, content).examples
    assert example.label is None and not example.answers
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("mine: 1 rows of its unlabelled files have a label, which is not looked at.")


@pytest.mark.parametrize("nothing", [None, ""])
def test_an_empty_label_is_none(nothing: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec = task("classification", "a.jsonl", drop_labels=("",), **FLAT)
    assert len(read(tmp_path, spec, lines({"text": "甲", "label": nothing})).examples) == 1
    assert not caplog.records


def test_a_part_of_the_train_files_may_be_held_out_as_unlabelled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = lines(*({"text": f"甲{number}", "label": "yes"} for number in range(100)))
    (tmp_path / "a.jsonl").write_text(content, encoding="utf-8")
    spec = TaskSpec("mine", "classification", {"train": ("a.jsonl",)}, held_out={UNLABELLED: 0.8}, **FLAT)
    train, unlabelled = (read_split(spec, tmp_path, split).examples for split in ("train", UNLABELLED))
    assert len(train) + len(unlabelled) == 100 and 70 < len(unlabelled) < 90
    assert {example.label for example in train} == {1} and {example.label for example in unlabelled} == {None}
    assert not caplog.records


def test_broken_rows_are_dropped_where_the_task_says_so(tmp_path: Path) -> None:
    spec = task("classification", "a.tsv", file_format="tsv", drop_broken_rows=True, **FLAT)
    found = read(tmp_path, spec, "text\n甲\n乙\t丙\n")
    assert len(found.examples) == 1 and found.dropped == 1


def test_rows_of_several_files_of_questions_have_ids_of_their_own(tmp_path: Path) -> None:
    spec = task("labelling", "a.jsonl", "b.jsonl", "c.txt", labels=("PER",), file_format="conll")
    content = lines({"text": "甲"}, {"text": "乙"})
    found = read(tmp_path, spec, content, content, "丙\n")
    assert [(example.id, *example.texts) for example in found.examples] == [
        ("0", "丙"),
        ("a-0", "甲"),
        ("1", "乙"),
        ("b-0", "甲"),
        ("b-1", "乙"),
    ]


def test_files_of_one_name_in_several_folders(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec = task("classification", *(f"{folder}/q.jsonl" for folder in "abc"), file_format="csv", **FLAT)
    for folder in "abc":
        (tmp_path / folder).mkdir()
    found = read(tmp_path, spec, *(lines({"text": text, "label": "yes"}) for text in "甲乙丙"))
    assert [(example.id, *example.texts) for example in found.examples] == [("0", "甲"), ("q-0", "乙"), ("q-q-0", "丙")]
    assert caplog.messages[0].startswith("mine: 3 rows of its unlabelled files have a label")


def test_cloze_files_all_hold_passages(tmp_path: Path) -> None:
    passages = [lines({"content": [f"甲#idiom00000{number}#"], "candidates": ["丙", "丁"]}) for number in range(2)]
    found = read(tmp_path, task("cloze", "a.json", "b.json"), *passages).examples
    assert [example.id for example in found] == ["#idiom000000#", "#idiom000001#"]
    assert len({example.group for example in found}) == 2


def test_column_files_of_more_columns_or_with_some_tags(tmp_path: Path) -> None:
    spec = task("labelling", "a.txt", labels=("PER",), file_format="conll")
    assert [example.texts for example in read(tmp_path, spec, "甲\n乙 B-WHO\n丙\n").examples] == [("甲乙丙",)]
    with pytest.raises(InputError, match=r"a\.txt:1: '甲 NR O' has 3 columns"):
        read(tmp_path, spec, "甲 NR O\n")


def test_an_id_twice_in_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the id 'x' stands already at .*a.jsonl:1"):
        read(tmp_path, task("classification", "a.jsonl", **FLAT), lines(*[{"id": "x", "text": "甲"}] * 2))


# ---- in a batch

TABLES: dict[str, tuple[TaskSpec, list[Example], list[float]]] = {
    "classification": (
        task("classification", **FLAT),
        [Example("a", ("甲",), 1), Example("b", ("乙丙",))],
        [1, UNKNOWN],
    ),
    "regression": (
        task("regression", texts=("text",)),
        [Example("a", ("甲",)), Example("b", ("乙",), -1.0)],
        [np.nan, -1],
    ),
    "multiple_choice": (
        task("multiple_choice"),
        [Example("a", ("甲", "乙"), 1, ("丙", "丁")), Example("b", ("甲", "乙"), None, ("丙", "丁", "戊"))],
        [1, UNKNOWN],
    ),
    "cloze": (
        task("cloze"),
        [Example("a", ("甲", "乙"), None, ("丙", "丁")), Example("b", ("甲", "乙"), 0, ("丙", "丁"))],
        [UNKNOWN, 0],
    ),
    "reading": (
        task("reading"),
        [Example("a", ("丁", "甲乙丙"), answers=(Answer("乙丙", 1),)), Example("b", ("丁", "甲乙"))],
        [4, 5, UNKNOWN, UNKNOWN],
    ),
    "labelling": (
        task("labelling", labels=("PER",)),
        [Example("a", ("甲乙丙",)), Example("b", ("甲乙",), answers=((Entity("乙", "PER", 1, 2),),))],
        [UNKNOWN, UNKNOWN, UNKNOWN, 0, 1],
    ),
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_decision_without_a_label_is_unknown_and_all_are_in_the_table(kind: str) -> None:
    spec, examples, expected = TABLES[kind]
    features = featurise(spec, examples, TOKENIZER, 12)
    batch = collate(features, "mine", TOKENIZER.pad_id)
    rows, length = batch.input_ids.shape
    shape = {"multiple_choice": [2, 3], "cloze": [2, 2], "reading": [2, 2, length], "labelling": [2, 3, length]}
    table = kind_named(kind).decisions(
        paddle.zeros(shape.get(kind, [2, len(kind_named(kind).output_names(spec))])), batch
    )
    np.testing.assert_array_equal(table.labels, np.array(expected))
    assert NO_LABEL not in table.labels and len(table.logits) == len(expected)
    known = [place for place, label in enumerate(expected) if label != UNKNOWN and not np.isnan(label)]
    if kind == "regression":  # where -1 is a number like others
        known = [1]
    assert table.labelled.tolist() == known
    assert batch.labelled.tolist() == [example.label is not None or bool(example.answers) for example in examples]
