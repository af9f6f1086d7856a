"""Every kind of task from examples to token ids, worked out by hand: letters are tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ernie_tiny.batch import Feature
from ernie_tiny.data.task import Answer, Example, TaskSpec
from ernie_tiny.data.tokenizer import ROBERTA_SPECIAL_TOKENS, SPECIAL_TOKENS, ByteLevelTokenizer, Tokenizer
from ernie_tiny.errors import InputError
from ernie_tiny.kinds import reading
from ernie_tiny.kinds.ask import featurise

LETTERS = "甲乙丙丁戊己庚辛壬癸问答选"
# P, U, C, S and M stand for the special tokens in what the tests expect.
TOKENIZER = Tokenizer([*SPECIAL_TOKENS, *LETTERS, "ab", "##c"])
NAMES = dict(enumerate(["P", "U", "C", "S", "M", *LETTERS, "ab", "##c"]))


def spec(kind: str) -> TaskSpec:
    return TaskSpec("toy", kind, files={}, labels=("0", "1"))


def features(kind: str, *texts: str, max_length: int, stride: int = 128, **fields: Any) -> list[Feature]:
    examples = [Example("7", texts, **fields)]
    if kind == "reading":
        return list(reading.features(spec(kind), examples, TOKENIZER, max_length, stride))
    return featurise(spec(kind), examples, TOKENIZER, max_length)


def shown(feature: Feature) -> list[str]:
    """Each sequence as text, with a bar before the first token of type 1."""
    rows = []
    for ids, types in feature.sequences:
        assert (ids.dtype, types.dtype) == ("int32", "int32") and ids.shape == types.shape
        names = [NAMES[int(index)] for index in ids]
        assert types.tolist() == sorted(types.tolist())
        if types.any():
            names.insert(int(types.argmax()), "|")
        rows.append("".join(names))
    return rows


def test_one_text_is_cut_at_its_end() -> None:
    (feature,) = features("classification", "甲乙丙丁戊", max_length=5, label=1)
    assert (shown(feature), feature.example_id, feature.label) == (["C甲乙丙S"], "7", (1,))
    assert feature.offsets is None
    assert shown(features("classification", "甲乙", max_length=5)[0]) == ["C甲乙S"]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("甲乙", "丙丁", "C甲乙S|丙丁S"),
        ("甲乙丙丁戊己", "庚辛", "C甲乙丙S|庚辛S"),
        ("庚辛", "甲乙丙丁戊己", "C庚辛S|甲乙丙S"),
        ("甲乙丙丁戊", "己庚辛壬癸", "C甲乙丙S|己庚S"),
        ("", "甲乙", "CS|甲乙S"),
    ],
)
def test_of_a_pair_the_longer_text_is_cut_first(first: str, second: str, expected: str) -> None:
    for kind in ("pair", "keywords"):
        assert shown(features(kind, first, second, max_length=8)[0]) == [expected]


def test_an_example_without_a_label_has_an_empty_one() -> None:
    assert features("classification", "甲", max_length=5)[0].label == ()


def test_multiple_choice_cuts_the_context_only() -> None:
    choices = ("选", "答选", "甲答选")
    (feature,) = features("multiple_choice", "甲乙丙丁戊", "问", max_length=8, label=2, candidates=choices)
    assert shown(feature) == ["C甲乙丙S|问选S", "C甲乙S|问答选S", "C甲S|问甲答选S"]
    assert feature.label == (2,)


def test_cloze_has_one_mask_at_the_blank_and_one_window_for_all_candidates() -> None:
    choices = ("选", "答选")
    (feature,) = features("cloze", "甲乙", "丙丁", max_length=20, label=0, candidates=choices)
    assert shown(feature) == ["C选S|甲乙M丙丁S", "C答选S|甲乙M丙丁S"]
    # 11 tokens, less 4 and the longer candidate, leave 5: two before the blank and three after it.
    (feature,) = features("cloze", "甲乙丙丁", "戊己庚辛", max_length=11, candidates=choices)
    assert shown(feature) == ["C选S|丙丁M戊己庚S", "C答选S|丙丁M戊己庚S"]


@pytest.mark.parametrize(
    ("before", "after", "window"),
    [
        ("甲", "乙丙丁戊己", "甲M乙丙丁戊"),
        ("甲乙丙丁戊", "己", "乙丙丁戊M己"),
        ("", "甲", "M甲"),
        ("甲", "", "甲M"),
    ],
)
def test_one_side_of_a_cloze_gets_what_the_other_does_not_use(before: str, after: str, window: str) -> None:
    (feature,) = features("cloze", before, after, max_length=10, candidates=("选", "答"))
    assert shown(feature) == [f"C选S|{window}S", f"C答S|{window}S"]


def test_reading_in_one_window() -> None:
    context = "甲乙 abc丙。"
    (feature,) = features("reading", "问答", context, max_length=20, answers=(Answer("abc丙", 3),))
    assert shown(feature) == ["C问答S|甲乙ab##c丙US"]
    assert feature.label == (6, 8)
    assert feature.offsets is not None and feature.offsets.tolist() == [
        [-1, -1],
        [-1, -1],
        [-1, -1],
        [-1, -1],
        [0, 1],
        [1, 2],
        [3, 5],
        [5, 6],
        [6, 7],
        [7, 8],
        [-1, -1],
    ]


def test_reading_slides_windows_that_share_stride_tokens() -> None:
    # 9 tokens, less 3 and a question of one, leave windows of 5; sharing 2 they start at 0, 3 and 6.
    answers = (Answer("丁戊", 3),)
    windows = features("reading", "问", "甲乙丙丁戊己庚辛壬癸", max_length=9, stride=2, answers=answers)
    rows = [row for window in windows for row in shown(window)]
    assert rows == ["C问S|甲乙丙丁戊S", "C问S|丁戊己庚辛S", "C问S|庚辛壬癸S"]
    assert [window.label for window in windows] == [(6, 7), (3, 4), (0, 0)]
    assert {window.example_id for window in windows} == {"7"}
    assert windows[2].offsets is not None and windows[2].offsets[3:-1, 0].tolist() == [6, 7, 8, 9]


def test_a_window_that_holds_half_the_answer_points_at_cls() -> None:
    answers = (Answer("丁戊己", 3),)
    windows = features("reading", "问", "甲乙丙丁戊己庚", max_length=9, stride=1, answers=answers)
    assert [shown(window) for window in windows] == [["C问S|甲乙丙丁戊S"], ["C问S|戊己庚S"]]
    assert [window.label for window in windows] == [(0, 0), (0, 0)]


@pytest.mark.parametrize("length", range(12))
def test_windows_cover_the_context_and_none_is_needless(length: int) -> None:
    windows = features("reading", "问", "甲乙丙丁戊己庚辛壬癸问答"[:length], max_length=8, stride=2)
    starts = [window.offsets[3, 0] for window in windows if window.offsets is not None and length]
    covered = {start + place for start in starts for place in range(4)}
    assert covered >= set(range(length)) and all(start + 2 < length or start == 0 for start in starts)
    assert len(windows) == max(1, -(-(length - 2) // 2))


def test_windows_share_at_most_half_of_themselves() -> None:
    windows = features("reading", "问", "甲乙丙丁戊己", max_length=8, stride=100)
    assert [shown(window) for window in windows] == [["C问S|甲乙丙丁S"], ["C问S|丙丁戊己S"]]


def test_the_first_answer_that_stands_in_the_context_counts() -> None:
    answers = (Answer("癸", -1), Answer("乙", 1), Answer("甲", 0))
    assert features("reading", "问", "甲乙", max_length=9, answers=answers)[0].label == (4, 4)
    assert features("reading", "问", "甲乙", max_length=9, answers=answers[:1])[0].label == (0, 0)


def test_an_answer_inside_a_token_takes_the_token() -> None:
    assert features("reading", "问", "甲abc", max_length=9, answers=(Answer("b", 2),))[0].label == (4, 4)


def test_reading_without_answers_or_context() -> None:
    (feature,) = features("reading", "问", "", max_length=9)
    assert (shown(feature), feature.label) == (["C问S|S"], ())


def test_a_long_question_keeps_64_tokens() -> None:
    (feature,) = features("reading", "问" * 70, "甲", max_length=80)
    assert shown(feature) == [f"C{'问' * 64}S|甲S"]


@pytest.mark.parametrize(
    ("kind", "texts", "least"),
    [
        ("classification", ("甲",), 3),
        ("pair", ("甲", "乙"), 5),
        ("multiple_choice", ("甲", "问"), 7),
        ("cloze", ("甲", "乙"), 7),
        ("reading", ("问", "甲"), 5),
    ],
)
def test_max_length_must_leave_room(kind: str, texts: tuple[str, ...], least: int) -> None:
    candidates = ("选", "答选") if kind in ("multiple_choice", "cloze") else ()
    assert features(kind, *texts, max_length=least, candidates=candidates)
    message = f"toy, example 7: max_length = {least - 1} leaves no room .* more than {least - 1}"
    with pytest.raises(InputError, match=message):
        features(kind, *texts, max_length=least - 1, candidates=candidates)


def test_features_keep_the_order_of_many_examples() -> None:
    examples = [Example(str(number), (LETTERS[number % 10],)) for number in range(2500)]
    found = featurise(spec("classification"), examples, TOKENIZER, 8)
    assert [feature.example_id for feature in found] == [example.id for example in examples]
    assert all(shown(feature) == [f"C{example.texts[0]}S"] for feature, example in zip(found, examples))


def test_the_text_of_a_mask_is_not_masked() -> None:
    (feature,) = features("cloze", "甲[MASK]", "乙", max_length=20, candidates=("选", "答"))
    ids = feature.sequences[0][0]
    assert np.count_nonzero(ids == TOKENIZER.mask_id) == 1


# A tokenizer of RoBERTa's form, whose letters are one token each.
ROBERTA = ByteLevelTokenizer([*ROBERTA_SPECIAL_TOKENS, *"abcdefghxyz", "Ġ"], [])


def roberta(kind: str, *texts: str, max_length: int, **fields: Any) -> list[tuple[str, list[int]]]:
    """Each sequence with C, S and M for <s>, </s> and <mask>, and its token types."""
    signs = {2: "C", 3: "S", 4: "M"}
    found = featurise(spec(kind), [Example("7", texts, **fields)], ROBERTA, max_length)
    rows = [row for feature in found for row in feature.sequences]
    return [
        ("".join(signs.get(int(token), ROBERTA.tokens[token]) for token in ids), types.tolist()) for ids, types in rows
    ]


def test_a_pair_of_roberta_has_two_separators() -> None:
    assert roberta("classification", "abcdef", max_length=5) == [("CabcS", [0] * 5)]
    assert roberta("pair", "ab", "cd", max_length=8) == [("CabSScdS", [0] * 5 + [1] * 3)]
    assert roberta("pair", "abcdef", "gh", max_length=8) == [("CabSSghS", [0] * 5 + [1] * 3)]
    rows = roberta("multiple_choice", "abcdefgh", "x", max_length=8, candidates=("y", "z"))
    assert [row for row, _ in rows] == ["CabSSxyS", "CabSSxzS"]
    rows = roberta("cloze", "abc", "def", max_length=10, candidates=("x", "y"))
    assert [row for row, _ in rows] == ["CxSSbcMdeS"[:10], "CySSbcMdeS"[:10]]


def test_reading_with_two_separators() -> None:
    windows = featurise(spec("reading"), [Example("7", ("xy", "abc de"), answers=(Answer("de", 4),))], ROBERTA, 30)
    (window,) = windows
    assert window.offsets is not None
    assert window.offsets[:, 0].tolist() == [-1] * 5 + [0, 1, 2, 4, 4, 5, -1]  # a space of its own covers nothing
    start, end = window.label
    assert [ROBERTA.tokens[token] for token in window.sequences[0][0][start : end + 1]] == ["d", "e"]


def test_regression_keeps_its_number() -> None:
    assert features("regression", "甲", "乙", max_length=9, label=3.5)[0].label == (3.5,)
