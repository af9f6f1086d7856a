"""CMRC2018's scores by hand, and against NLTK and the official scorer on real answers; SQuAD's against its scorer."""

from __future__ import annotations

import hashlib
import json
import os
import re
import string
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ernie_tiny.data.task import Answer, Example, TaskSpec
from ernie_tiny.errors import InputError
from ernie_tiny.kinds.reading import READING
from ernie_tiny.kinds.reading_metrics import (
    exact_match,
    f1,
    segment,
    squad_exact_match,
    squad_f1,
    squad_words,
)

DATA = os.environ.get("ERNIE_TINY_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="ERNIE_TINY_DATA names no data root")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("北京大学", ["北", "京", "大", "学"]),
        (" 《Harry Potter》第3集 ", ["harry", "potter", "第", "3", "集"]),
        ("1998年-2000年", ["1998", "年", "2000", "年"]),
        ("3-4天", ["34", "天"]),  # the scorer removes the dash before it looks for words
        ("……", ["……"]),  # ...and it misses the ellipsis
        ("3.5%，1,000元", ["3.5", "%", "1,000", "元"]),
        # What NLTK 3.10.4's word tokeniser gives:
        ("james (m.) buchanan.", ["james", "(", "m.", ")", "buchanan", "."]),
        ('the "big" one', ["the", "``", "big", "''", "one"]),
        ("women's d'ye don't cannot we'll", ["women", "'s", "d", "'ye", "do", "n't", "can", "not", "we", "'ll"]),
        ("'tis a 'quoted' word...", ["'", "tis", "a", "'", "quoted", "'", "word", "..."]),
        ("at&t, u.s. 1880–1900", ["at", "&", "t", ",", "u.s.", "1880", "–", "1900"]),
    ],
)
def test_segments(text: str, expected: list[str]) -> None:
    assert segment(text) == expected


@pytest.mark.parametrize(
    ("prediction", "answer", "expected"),
    [
        ("北京", "北京", 1.0),
        ("《北京》。", "北京", 1.0),
        ("NBA", " nba ", 1.0),
        ("北京市", "北京", 0.0),
        ("", "北京", 0.0),
    ],
)
def test_exact_match(prediction: str, answer: str, expected: float) -> None:
    assert exact_match(prediction, answer) == expected


@pytest.mark.parametrize(
    ("prediction", "answer", "expected"),
    [
        ("北京", "北京", 1.0),
        ("北京市", "北京", 4 / 5),  # 2 common of 3 and 2
        ("京北", "北京", 1 / 2),  # a common run of 1, not a bag of 2
        ("甲乙丙丁", "甲乙戊丁", 1 / 2),  # 2 in a row; 丁 is not counted
        ("在NBA打球", "nba", 2 / 5),
        ("上海", "北京", 0.0),
        ("", "北京", 0.0),
        ("，", "。", 0.0),
    ],
)
def test_f1_of_the_longest_common_run(prediction: str, answer: str, expected: float) -> None:
    assert f1(prediction, answer) == pytest.approx(expected) == f1(answer, prediction)


def scores(predictions: dict[str, str], references: dict[str, list[str]], scorer: str) -> dict[str, float]:
    """As the kind gives them, of all questions."""
    spec = TaskSpec("mine", "reading", {}, scorer=scorer)
    examples = [
        Example(name, answers=tuple(Answer(text, 0) for text in answers)) for name, answers in references.items()
    ]
    return READING.scorer(spec, examples, predictions)(np.arange(len(examples)))


def test_scores_are_percent_and_take_the_best_reference() -> None:
    references = {"a": ["上海", "北京"], "b": ["北京"], "c": ["天津"]}
    found = scores({"a": "北京", "b": "北京市", "c": "上海", "unasked": "x"}, references, "cmrc2018")
    assert found == pytest.approx({"exact_match": 100 / 3, "f1": 100 * (1 + 0.8) / 3})


def test_questions_without_an_answer_cannot_be_scored() -> None:
    with pytest.raises(InputError, match="1 of 2 questions have no reference answer; .* 'b'"):
        scores({"a": "x", "b": "y"}, {"a": ["x"], "b": []}, "squad")


def questions(split: str) -> Iterator[Any]:
    file = Path(DATA or "") / "clue" / "cmrc2018_public" / f"{split}.json"
    for article in json.loads(file.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            yield from paragraph["qas"]


@needs_data
def test_segments_of_all_answers_equal_those_of_nltk() -> None:
    """The checksum is of the official mixed_segmentation(answer, rm_punc=True) with NLTK 3.10.4's
    NLTKWordTokenizer, that is, word_tokenize without its search for ends of sentences."""
    answers = [
        answer["text"]
        for split in ("train", "dev", "trial")
        for question in questions(split)
        for answer in question["answers"]
    ]
    assert len(answers) == 20_801
    found = hashlib.sha256(json.dumps([segment(answer) for answer in answers]).encode()).hexdigest()
    assert found == "0ca6530bcb6314af5eaf368a822921914aabffec5f6e59ce38ea2419f40e7219"


@needs_data
def test_scores_equal_those_of_the_official_scorer() -> None:
    """Its evaluate(), with the same NLTK, on first answers that lack 0, 1, 2, 3, 0, ... characters."""
    references = {item["id"]: [answer["text"] for answer in item["answers"]] for item in questions("dev")}
    predictions = {name: answers[0][number % 4 :] for number, (name, answers) in enumerate(references.items())}
    assert len(references) == 3_219
    assert scores(predictions, references, "cmrc2018") == pytest.approx(
        {"exact_match": 27.337682510096304, "f1": 78.7569266912525}, rel=1e-12
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The  Denver Broncos!", ["denver", "broncos"]),
        ("an apple, a pear; the theme", ["apple", "pear", "theme"]),
        ("U.S.A.", ["usa"]),
        ("“Café” 1,000", ["“café”", "1000"]),  # only ASCII punctuation goes
        ("The", []),
    ],
)
def test_words_of_squad(text: str, words: list[str]) -> None:
    assert squad_words(text) == words


def official_squad(prediction: str, answer: str) -> tuple[float, float]:
    """Exact match and F1 as evaluate-v1.1.py states them: on texts, by precision and recall."""

    def normalise(text: str) -> str:
        text = "".join(character for character in text.lower() if character not in set(string.punctuation))
        return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())

    found, truth = normalise(prediction).split(), normalise(answer).split()
    same = sum((Counter(found) & Counter(truth)).values())
    if same == 0:
        return float(normalise(prediction) == normalise(answer)), 0
    precision, recall = 1.0 * same / len(found), 1.0 * same / len(truth)
    return float(normalise(prediction) == normalise(answer)), 2 * precision * recall / (precision + recall)


SPANS = ("the Denver Broncos", "Denver Broncos", "Broncos of Denver, Denver", "Carolina", "a", "", "The.", "den-ver")


@pytest.mark.parametrize("prediction", SPANS)
@pytest.mark.parametrize("answer", SPANS)
def test_scores_of_squad_equal_those_of_its_scorer(prediction: str, answer: str) -> None:
    found = squad_exact_match(prediction, answer), squad_f1(prediction, answer)
    assert found == pytest.approx(official_squad(prediction, answer))


def test_squad_takes_the_best_reference_of_each_metric() -> None:
    references = {"a": ["the Broncos", "Denver Broncos team"], "b": ["Rome"]}
    found = scores({"a": "Broncos", "b": "in Rome"}, references, "squad")
    assert found == pytest.approx({"exact_match": 50.0, "f1": 100 * (1 + 2 / 3) / 2})
