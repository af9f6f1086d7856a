"""Recorded answers of a teacher: what rows of each kind become, by hand, and what no row may be."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pytest

from ernie_tiny.batch import Array
from ernie_tiny.data.task import Example, TaskSpec
from ernie_tiny.data.tokenizer import SPECIAL_TOKENS, Tokenizer
from ernie_tiny.errors import InputError
from ernie_tiny.kinds.answers import Answers, Reading, read_answers, recorded_of
from ernie_tiny.kinds.ask import featurise
from ernie_tiny.kinds.recorded import softened

TOKENIZER = Tokenizer([*SPECIAL_TOKENS, *"甲乙丙丁戊", "ab", "##c"])
CLASSES = TaskSpec("mine", "classification", {}, ("text",), ("no", "yes", "so"))
EXAMPLES = [Example("a", ("甲",), 0), Example("b", ("乙",), 2)]
NUMBERS = TaskSpec("mine", "regression", {}, ("text",))
CHOICE, CLOZE = TaskSpec("mine", "multiple_choice", {}), TaskSpec("mine", "cloze", {})
CHOICES = [Example("a", ("甲", "乙"), 0, ("丙", "丁", "戊"))]
ENTITIES = TaskSpec("mine", "labelling", {}, labels=("PER",), scheme="bioes")
TEXTS = [Example("a", ("甲abc乙",))]


def read(
    folder: Path,
    spec: TaskSpec,
    content: Any,
    examples: Sequence[Example],
    smoothing: Optional[float] = 0.1,
    name: str = "answers.jsonl",
    logits_only: bool = False,
) -> Answers:
    if not isinstance(content, str):
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content)
    (folder / name).write_text(content, encoding="utf-8")
    reading = Reading(folder / name, "stages.distil.teacher", smoothing, logits_only)
    return read_answers(spec, reading, {"train": examples}, {"train": examples})


def logits(folder: Path, spec: TaskSpec, row: Any, examples: Sequence[Example], smoothing: float = 0.1) -> Array:
    """Of the one feature of the first example."""
    answer = read(folder, spec, [{"id": "a", **row}], examples[:1], smoothing)["train", "a"]
    (feature,) = featurise(spec, [answer.example], TOKENIZER, 16)
    return answer.logits(recorded_of(spec, ""), feature, smoothing)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"logits": [1, -2.5, 0]}, [1, -2.5, 0]),
        ({"logits": {"so": 3, "no": 1, "yes": 2}}, [1, 2, 3]),
        ({"probabilities": [0.25, 0.75, 0]}, [log(0.25), log(0.75), -10_000]),
        ({"answer": "yes", "scores": [0.5, 0.25, 0.25]}, [log(0.5), log(0.25), log(0.25)]),  # of tools/infer.py
        ({"probabilities": [0.33, 0.33, 0.33]}, [log(1 / 3)] * 3),  # rounded
        ({"label": "yes"}, [log(0.05), log(0.9), log(0.05)]),
        ({"label": "yes", "logits": [1, 2, 3]}, [1, 2, 3]),
    ],
)
def test_classes(row: Any, expected: list[float], tmp_path: Path) -> None:
    np.testing.assert_allclose(logits(tmp_path, CLASSES, row, EXAMPLES), expected, rtol=1e-6)


def test_a_label_that_is_sure_leaves_the_others_nothing(tmp_path: Path) -> None:
    assert logits(tmp_path, CLASSES, {"label": "no"}, EXAMPLES, 0.0).tolist() == [0, -10_000, -10_000]


@pytest.mark.parametrize("label", ["3.5", 3.5])
def test_a_number_is_itself(label: Any, tmp_path: Path) -> None:
    assert logits(tmp_path, NUMBERS, {"label": label, "scores": [9]}, EXAMPLES).tolist() == [3.5]


@pytest.mark.parametrize("label", ["丁", 1, "1"])
@pytest.mark.parametrize("spec", [CHOICE, CLOZE])
def test_candidates(label: Any, spec: TaskSpec, tmp_path: Path) -> None:
    found = logits(tmp_path, spec, {"label": label}, CHOICES, 0.2)
    np.testing.assert_allclose(found, [log(0.1), log(0.8), log(0.1)], rtol=1e-6)
    assert logits(tmp_path, spec, {"logits": [1, 2, 3]}, CHOICES).tolist() == [1, 2, 3]


@pytest.mark.parametrize(("label", "right"), [(2, 2), (1, 1), ("3", 0), ("1", 1), ("0", 0)])
def test_candidates_that_are_numbers(label: Any, right: int, tmp_path: Path) -> None:
    example = Example("a", ("甲", "乙"), 0, ("3", "2", "5"))
    assert logits(tmp_path, CHOICE, {"label": label}, [example], 0.2).argmax() == right


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (3, "1: the answer 3 is none of the choices"),
        (-1, "1: the answer -1 is none of the choices"),
        (2.0, "1: the answer 2.0 is none of the choices"),
        (True, "1: the answer True is none of the choices"),
    ],
)
def test_what_names_no_candidate(label: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        read(tmp_path, CHOICE, [{"id": "a", "label": label}], [Example("a", ("甲", "乙"), 0, ("3", "2", "5"))])


@pytest.mark.parametrize(
    "answer",
    [
        {"label": {"PER": {"abc": [[1, 3]]}}},
        {"answer": [{"text": "abc", "type": "PER", "start": 1, "end": 4, "score": 0.9}], "scores": []},
    ],
)
def test_entities(answer: Any, tmp_path: Path) -> None:
    """The tokens 甲, ab, ##c, 乙 are O, B, E, O of O, B, I, E, S; the label gets 0.8, each other tag 0.05."""
    found = logits(tmp_path, ENTITIES, answer, TEXTS, 0.2)
    assert found.shape == (5, 6)
    assert found[:, 1:-1].argmax(axis=0).tolist() == [0, 1, 3, 0]
    np.testing.assert_allclose(np.exp(found[:, 2]), [0.05, 0.8, 0.05, 0.05, 0.05], rtol=1e-6)
    assert not found[:, [0, -1]].any()


def test_a_text_may_have_no_entities(tmp_path: Path) -> None:
    for row in ({"answer": []}, {"label": []}, {"label": {}}):
        assert logits(tmp_path, ENTITIES, row, TEXTS)[:, 1:-1].argmax(axis=0).tolist() == [0, 0, 0, 0]


def test_tags_of_characters_are_those_of_tokens_that_they_begin(tmp_path: Path) -> None:
    rows = [[character, 0, 0, 0, 10] for character in range(5)]
    found = logits(tmp_path, ENTITIES, {"logits": rows}, TEXTS)
    assert found[0].tolist() == [0, 0, 1, 3, 4, 0] and found[4].tolist() == [0, 10, 10, 10, 10, 0]


TABLES = {
    "a.csv": "id,probabilities.no,probabilities.yes,probabilities.so\na,0.5,0.25,0.25\nb,0,1,0\n",
    "a.tsv": "text\tlogits.so\tlogits.no\tlogits.yes\n甲\t3\t1\t2\n乙\t0\t0\t0\n",
    "b.csv": "text,label\n甲,yes\n乙,no\n",
}


def test_tables_have_a_column_a_label_or_the_label(tmp_path: Path) -> None:
    found = {name: read(tmp_path, CLASSES, text, EXAMPLES, name=name) for name, text in TABLES.items()}
    np.testing.assert_allclose(found["a.csv"]["train", "a"].numbers, np.log([0.5, 0.25, 0.25]), rtol=1e-6)
    assert found["a.csv"]["train", "b"].numbers.tolist() == [-10_000, 0, -10_000]
    assert found["a.tsv"]["train", "a"].numbers.tolist() == [1, 2, 3]
    assert [found["b.csv"]["train", name].example.label for name in "ab"] == [1, 0]


def test_a_text_answers_all_examples_that_have_it(tmp_path: Path) -> None:
    twice = [*EXAMPLES, Example("c", ("甲",))]
    found = read(tmp_path, CLASSES, [{"text": "甲", "label": "so"}, {"text": "乙", "label": "no"}], twice)
    assert {key: answer.example.label for key, answer in found.items()} == {
        ("train", "a"): 2,
        ("train", "c"): 2,
        ("train", "b"): 0,
    }


def test_an_example_may_be_answered_twice_alike(tmp_path: Path) -> None:
    for one, other, agrees in (
        ({"probabilities": [0.5, 0.25, 0.25]}, {"probabilities": [0.50001, 0.25, 0.25]}, True),
        ({"label": "so"}, {"label": "so"}, True),
        ({"label": "so"}, {"label": "no"}, False),
        ({"label": "so"}, {"logits": [0, 0, 1]}, False),
        ({"logits": [0, 0, 1]}, {"logits": [0, 0, 2]}, False),
    ):
        rows = [{"text": "甲", **one}, {"text": "甲", **other}]
        if agrees:
            assert len(read(tmp_path, CLASSES, rows, EXAMPLES[:1])) == 1
        else:
            with pytest.raises(InputError, match="jsonl:2: example 'a' is answered otherwise at .*jsonl:1. Take"):
                read(tmp_path, CLASSES, rows, EXAMPLES[:1])


def test_rows_of_no_example_are_left_out_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"id": "x", "label": "so"}, *({"id": name, "label": "no"} for name in "ab"), {"text": "丙", "label": "so"}]
    assert len(read(tmp_path, CLASSES, rows, EXAMPLES)) == 2
    (record,) = caplog.records
    assert "2 rows answer no example of mine in train, and are left out; the first is" in record.getMessage()
    assert record.getMessage().endswith("answers.jsonl:1.")


def test_an_id_that_two_splits_have_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "a", "label": "no"}\n', encoding="utf-8")
    both = {"train": EXAMPLES[:1], "unlabelled": [dataclasses.replace(EXAMPLES[1], id="a")]}
    with pytest.raises(InputError, match="a.jsonl:1: the id 'a' stands in train and in unlabelled. Give the rows"):
        read_answers(CLASSES, Reading(tmp_path / "a.jsonl", "", 0.1), both, both)
    (tmp_path / "a.jsonl").write_text(
        '{"text": "甲", "label": "no"}\n{"text": "乙", "label": "so"}\n', encoding="utf-8"
    )
    found = read_answers(CLASSES, Reading(tmp_path / "a.jsonl", "", 0.1), both, both)
    assert [found[split, "a"].example.label for split in both] == [0, 2]


def test_a_half_certain_label_by_hand() -> None:
    found = softened(np.array([2, -100, -1]), 3, 0.5)
    np.testing.assert_allclose(found, [[log(0.25), log(0.25), log(0.5)], [0, 0, 0], [0, 0, 0]], rtol=1e-6)


@pytest.mark.parametrize(
    ("spec", "row", "message"),
    [
        (CLASSES, {"id": "a", "label": "never"}, "1: mine has no label 'never'."),
        (CLASSES, {"id": "a", "probabilities": {"no": 1, "yes": 0, "sso": 0}}, "holds 'sso', which is no option. Did"),
        (CLASSES, {"id": "a", "probabilities": {"no": 1}}, "1: probabilities lacks 'yes', 'so'. Give all 3."),
        (
            CLASSES,
            {"id": "a", "probabilities": [0.5, 0.5]},
            r"1: probabilities must be 3 numbers \(no, yes, so\), not \[",
        ),
        (CLASSES, {"id": "a", "logits": [1, 2, 1e300]}, "1: logits holds 1e[+]300, which is no number"),
        (CLASSES, {"id": "a", "logits": [1, 2, True]}, "1: logits holds true, which is no number"),
        (CLASSES, [1], r"1: is not an object with fields: \[1\]"),
        (CHOICE, {"id": "a", "label": "己"}, "1: the answer '己' is none of the choices"),
        (CHOICE, {"id": "a", "logits": [1, 2]}, "1: logits must be 3 numbers"),
        (NUMBERS, {"id": "a", "label": "much"}, "1: 'label' is not a number: 'much'"),
        (ENTITIES, {"id": "a", "logits": [[0] * 5]}, "1: logits must be a list of 5 rows, one a character"),
        (
            ENTITIES,
            {"id": "a", "label": [{"type": "PER", "start": 4, "end": 9}]},
            "from 4 to 9 of 5 characters stands '乙'",
        ),
        (ENTITIES, {"id": "a", "label": [{"type": "LOC", "start": 0, "end": 1}]}, "mine has no label 'LOC'"),
        (ENTITIES, {"id": "a", "label": {"PER": {"ab": [[0, 1]]}}}, "PER is 'ab', but at 0 to 1 stands '甲a'"),
    ],
)
def test_rows_that_are_no_answers(spec: TaskSpec, row: Any, message: str, tmp_path: Path) -> None:
    examples = {"multiple_choice": CHOICES, "labelling": TEXTS}.get(spec.kind, EXAMPLES[:1])
    with pytest.raises(InputError, match=message):
        read(tmp_path, spec, [row], examples)


SHUFFLED = [Example("a", ("甲", "乙"), 0, ("丙", "丁")), Example("b", ("甲", "乙"), 0, ("丁", "丙"))]
ASKED = {"context": "甲", "question": "乙"}


def test_a_row_of_choices_answers_the_example_that_has_them_in_its_order(tmp_path: Path) -> None:
    rows = [{**ASKED, "choice": [*choice], "logits": [5, -5]} for choice in ("丙丁", "丁丙")]
    found = read(tmp_path, CHOICE, rows[:1] + [{"id": "b", "logits": [1, 2]}], SHUFFLED)
    assert [found["train", name].numbers.tolist() for name in "ab"] == [[5, -5], [1, 2]]
    with pytest.raises(InputError, match="jsonl:1: answers the id 'b' with the candidates \"丙 丁\", and"):
        read(tmp_path, CHOICE, [{"id": "b", **rows[0]}], SHUFFLED)
    with pytest.raises(InputError, match="jsonl:1: no field 'choice'.*An answer has the 'id'"):
        read(tmp_path, CHOICE, [{**ASKED, "logits": [5, -5]}], SHUFFLED)
