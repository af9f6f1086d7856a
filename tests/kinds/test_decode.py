"""Answers from logits, worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Optional

import numpy as np
import pytest

from ernie_tiny.batch import Feature
from ernie_tiny.data.task import Example, Prediction, TaskSpec
from ernie_tiny.kinds.ask import decode
from ernie_tiny.kinds.reading import ANSWER_LENGTH

CLASSES = TaskSpec("toy", "pair", files={}, labels=("no", "maybe", "yes"))
CHOICE = TaskSpec("toy", "multiple_choice", files={})
CLOZE = TaskSpec("toy", "cloze", files={})
READING = TaskSpec("toy", "reading", files={})


def feature(name: str, offsets: Optional[list[tuple[int, int]]] = None) -> Feature:
    return Feature(name, (), (), None if offsets is None else np.array(offsets, np.int32))


def test_classes() -> None:
    logits = [np.log(np.array(values, np.float32)) for values in ([0.2, 0.3, 0.5], [0.6, 0.3, 0.1])]
    examples = [Example("a", ("x",)), Example("b", ("y",))]
    first, second = decode(CLASSES, examples, [feature("a"), feature("b")], logits)
    assert (first.id, first.answer, second.id, second.answer) == ("a", "yes", "b", "no")
    assert first.scores == pytest.approx((0.2, 0.3, 0.5)) and second.scores == pytest.approx((0.6, 0.3, 0.1))


def test_large_logits_have_finite_scores() -> None:
    logits = [np.array([1e4, 0.0, 0.0], np.float32)]
    (found,) = decode(CLASSES, [Example("a", ("x",))], [feature("a")], logits)
    assert found == Prediction("a", "no", (1.0, 0.0, 0.0))


def test_predictions_stand_in_the_order_of_the_examples() -> None:
    examples = [Example("a", ("x",)), Example("b", ("y",))]
    logits = [np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])]
    found = decode(CLASSES, examples, [feature("b"), feature("a")], logits)
    assert [(item.id, item.answer) for item in found] == [("a", "yes"), ("b", "no")]


def test_a_choice_is_an_index() -> None:
    example = Example("a", ("context", "question"), candidates=("w", "x", "y"))
    (found,) = decode(CHOICE, [example], [feature("a")], [np.array([0.0, 2.0, 1.0])])
    assert found.answer == "1" and sum(found.scores) == pytest.approx(1.0)


def cloze(scores: Sequence[Sequence[float]], groups: Sequence[str]) -> list[str]:
    names = [str(number) for number in range(len(scores))]
    examples = [
        Example(name, ("", ""), candidates=("x",) * len(row), group=group)
        for name, row, group in zip(names, scores, groups)
    ]
    logits = [np.array(row, np.float32) for row in scores]
    return [item.answer for item in decode(CLOZE, examples, [feature(name) for name in names], logits)]


def test_a_group_gets_the_best_assignment_where_greed_errs() -> None:
    # Greedy: blank 0 takes candidate 0 (5), blank 1 is left with candidate 1 (-10). Best: 4 + 4.5.
    assert cloze([[5, 4], [4.5, -10]], ["g", "g"]) == ["1", "0"]
    assert cloze([[5, 4], [4.5, -10]], ["g", "h"]) == ["0", "0"]


def test_blanks_of_a_group_need_not_be_neighbours() -> None:
    assert cloze([[5, 4], [1, 0], [4.5, -10]], ["g", "h", "g"]) == ["1", "0", "0"]


def test_blanks_without_a_group_are_alone() -> None:
    assert cloze([[1, 0], [1, 0]], ["", ""]) == ["0", "0"]


def test_more_blanks_than_candidates_get_their_best() -> None:
    assert cloze([[1, 0], [2, 0], [0, 1]], ["g"] * 3) == ["0", "0", "1"]


def test_assignment_equals_brute_force() -> None:
    scores = np.random.default_rng(0).normal(size=(4, 5))
    best = max(permutations(range(5), 4), key=lambda order: sum(scores[range(4), order]))
    assert cloze(scores.tolist(), ["g"] * 4) == [str(column) for column in best]


CONTEXT = "甲乙丙丁"
# [CLS] question [SEP] 甲 乙 丙 丁 [SEP]
WINDOW = feature("a", [(-1, -1)] * 3 + [(0, 1), (1, 2), (2, 3), (3, 4), (-1, -1)])


def answers(windows: Sequence[Feature], logits: Sequence[Sequence[Sequence[float]]]) -> Prediction:
    arrays = [np.array(values, np.float32) for values in logits]
    (found,) = decode(READING, [Example("a", ("问", CONTEXT))], windows, arrays)
    return found


def test_the_best_span_starts_before_it_ends() -> None:
    # Best start 丁 (5) and best end 甲 (5) are no span; 丁-丁 gives 5 + 1, 乙-丙 gives 3 + 4.
    found = answers([WINDOW], [[[0, 0, 0, 0, 3, 0, 5, 0], [0, 0, 0, 5, 0, 4, 1, 0]]])
    assert found == Prediction("a", "乙丙", (7.0,))


def test_a_span_lies_inside_the_context() -> None:
    found = answers([WINDOW], [[[9, 9, 9, 0, 1, 0, 0, 9], [9, 9, 9, 0, 1, 0, 0, 9]]])
    assert found == Prediction("a", "乙", (2.0,))


def test_the_best_window_wins() -> None:
    second = feature("a", [(-1, -1)] * 3 + [(2, 3), (3, 4), (-1, -1)])
    first_logits = [[0, 0, 0, 2, 0, 0, 0, 0], [0, 0, 0, 2, 0, 0, 0, 0]]
    found = answers([WINDOW, second], [first_logits, [[0, 0, 0, 0, 3, 0], [0, 0, 0, 0, 3, 0]]])
    assert found == Prediction("a", "丁", (6.0,))


def test_an_answer_is_cut_from_the_context_with_what_no_token_covers() -> None:
    window = feature("a", [(-1, -1), (0, 1), (3, 4), (-1, -1)])
    logits = [np.array([[0, 1, 0, 0], [0, 0, 1, 0]], np.float32)]
    (found,) = decode(READING, [Example("a", ("问", "甲  乙"))], [window], logits)
    assert found.answer == "甲  乙"


@pytest.mark.parametrize(("distance", "expected"), [(ANSWER_LENGTH - 1, ANSWER_LENGTH), (ANSWER_LENGTH, 1)])
def test_an_answer_has_at_most_64_tokens(distance: int, expected: int) -> None:
    length = 200
    logits = np.zeros((2, length), np.float32)
    logits[0, 50] = logits[1, 50 + distance] = 1.0
    logits[:, 10] = 0.9  # the second best, of one token
    window = feature("a", [(place, place + 1) for place in range(length)])
    (found,) = decode(READING, [Example("a", ("问", "字" * length))], [window], [logits])
    assert len(found.answer) == expected


def test_spans_equal_brute_force() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        logits = random.normal(size=(2, 8))
        spans = [(start, end) for start in range(3, 7) for end in range(start, 7)]
        score, first, last = max((logits[0, start] + logits[1, end], start, end) for start, end in spans)
        (found,) = decode(READING, [Example("a", ("问", CONTEXT))], [WINDOW], [logits])
        assert found.answer == CONTEXT[first - 3 : last - 2] and found.scores == pytest.approx((score,))


def test_a_context_without_tokens_has_no_answer_and_no_score() -> None:
    examples = [Example("a", ("问", "")), Example("b", ("问", "甲"))]
    windows = [feature("a", [(-1, -1)] * 2), feature("b", [(-1, -1), (0, 1)])]
    empty, full = decode(READING, examples, windows, [np.array([[0.0, 1.0], [0.0, 2.0]])] * 2)
    assert (empty, full) == (Prediction("a", "", ()), Prediction("b", "甲", (3.0,)))


def test_labels_do_not_matter() -> None:
    logits = [np.array([[0, 0, 0, 0, 3, 0, 5, 0], [0, 0, 0, 5, 0, 4, 1, 0]], np.float32)]
    example = [Example("a", ("问", CONTEXT))]
    labelled = Feature(WINDOW.example_id, WINDOW.sequences, (3, 3), WINDOW.offsets)
    assert decode(READING, example, [WINDOW], logits) == decode(READING, example, [labelled], logits)


def test_features_and_logits_belong_together() -> None:
    with pytest.raises(ValueError, match="1 features, but 0 logits"):
        decode(CLASSES, [Example("a", ("x",))], [feature("a")], [])


def test_a_number_is_read_back_as_it_was() -> None:
    task, logit = TaskSpec("toy", "regression", files={}), np.array([2.0 / 3], np.float32)
    row = (np.array([1], np.int32), np.array([0], np.int32))
    (found,) = decode(task, [Example("a", ("x",))], [Feature("a", (row,))], [logit])
    assert found == Prediction("a", "0.6666667", (float(logit[0]),))
    assert np.float32(found.answer) == logit[0]


def test_a_blank_without_a_group_shares_none_with_a_group_of_its_ids_name() -> None:
    examples = [
        Example("7", ("", ""), candidates=("x", "y")),
        Example("8", ("", ""), candidates=("x", "y"), group="7"),
    ]
    found = decode(CLOZE, examples, [feature("7"), feature("8")], [np.array([1.0, 0.0])] * 2)
    assert [one.answer for one in found] == ["0", "0"]


def test_an_id_that_stands_twice_is_no_answer_of_another() -> None:
    examples = [Example("a", ("x",)), Example("a", ("y",))]
    with pytest.raises(ValueError, match="an id stands twice"):
        decode(CLASSES, examples, [feature("a")] * 2, [np.zeros(3)] * 2)
