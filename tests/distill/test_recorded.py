"""Recorded answers as a teacher: each input of a batch gets its own, in any order and company."""

from __future__ import annotations

from functools import partial

import numpy as np
import paddle
import pytest

from ernie_tiny.batch import Feature
from ernie_tiny.data.batching import collate
from ernie_tiny.data.task import Example, TaskSpec
from ernie_tiny.data.tokenizer import SPECIAL_TOKENS, Tokenizer
from ernie_tiny.distill.recorded import RecordedTeacher
from ernie_tiny.kinds.answers import recorded_of
from ernie_tiny.kinds.ask import featurise, head_of
from ernie_tiny.kinds.entities import Entity
from ernie_tiny.kinds.recorded import Answer
from ernie_tiny.kinds.registry import kind_named

TEXT = "甲乙丙丁戊己庚辛壬癸"
TOKENIZER = Tokenizer([*SPECIAL_TOKENS, *TEXT])
CLASSES = TaskSpec("mine", "classification", {}, ("text",), ("no", "yes", "so"))
CHOICE = TaskSpec("mine", "multiple_choice", {})
ENTITIES = TaskSpec("mine", "labelling", {}, labels=("PER",))
NUMBERS = TaskSpec("mine", "regression", {}, ("text",))
CASES = {
    "classes": (
        CLASSES,
        [Example("a", ("甲乙丙",), 2), Example("b", ("丁",), 0), Example("c", ("丁",), 1)],
        [[0.1, 0.1, 0.8], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1]],  # b and c have one text and answers of their own
    ),
    "choice": (
        CHOICE,
        [Example("a", ("甲", "乙"), 1, ("丙", "丁丁")), Example("b", ("甲", "乙"), 0, ("丙", "丁", "戊己"))],
        [[0.2, 0.8, 0], [0.8, 0.1, 0.1]],
    ),
    "entities": (
        ENTITIES,
        [Example("a", ("甲乙",), answers=((Entity("乙", "PER", 1, 2),),)), Example("b", ("丙",), answers=((),))],
        [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.8, 0.1, 0.1]],
    ),
}


def teacher_of(spec: TaskSpec, answers: list[Answer], max_length: int = 16) -> tuple[RecordedTeacher, list[Feature]]:
    recorded, teacher = recorded_of(spec, ""), RecordedTeacher({"mine": head_of(spec)})
    features = [
        (answer, feature) for answer in answers for feature in featurise(spec, [answer.example], TOKENIZER, max_length)
    ]
    teacher.add("mine", [(feature, partial(answer.logits, recorded, feature, 0.2)) for answer, feature in features])
    return teacher, [feature for _, feature in features]


@pytest.mark.parametrize("case", CASES)
def test_labels_are_softened_decisions_in_every_order(case: str) -> None:
    spec, examples, expected = CASES[case]
    options = {"classes": 3, "entities": 3}
    answers = [Answer(example, options.get(case, len(example.candidates))) for example in examples]
    teacher, features = teacher_of(spec, answers)
    for order in (list(range(len(features))), list(range(len(features)))[::-1]):
        chosen = [features[number] for number in order]
        batch = collate(chosen, "mine", TOKENIZER.pad_id)
        table = kind_named(spec.kind).decisions(teacher(batch).logits, batch)
        found = paddle.nn.functional.softmax(table.logits).numpy()
        wanted = expected if order[0] == 0 else expected[-1:] + expected[:-1] if case == "entities" else expected[::-1]
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_numbers_are_what_they_were() -> None:
    teacher, features = teacher_of(
        NUMBERS, [Answer(Example(name, (name,), value), 1) for name, value in (("甲", -1.0), ("乙", 3.5))]
    )
    assert teacher(collate(features, "mine", 0)).logits.tolist() == [[-1.0], [3.5]]


def test_windows_of_a_text_have_the_rows_of_their_characters() -> None:
    rows = np.arange(30, dtype=np.float32).reshape(10, 3)
    teacher, features = teacher_of(ENTITIES, [Answer(Example("a", (TEXT,)), 3, rows)], max_length=8)
    assert len(features) > 1
    batch = collate(features, "mine", TOKENIZER.pad_id)
    logits = teacher(batch).logits.numpy()
    for feature, found in zip(features, logits):
        assert feature.offsets is not None
        inside = np.flatnonzero(feature.offsets[:, 0] >= 0)
        np.testing.assert_array_equal(found[:, inside].T, rows[feature.offsets[inside, 0]])
