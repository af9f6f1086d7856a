"""Exact match and F1 of CMRC2018 and of SQuAD 1.1, as their official scorers define them.

CMRC2018's scorer (cmrc2018_evaluate.py) cuts runs of other than Chinese characters with nltk.word_tokenize. The
rules of NLTK 3.10's word tokeniser (Penn Treebank) stand here, without those for characters that the scorer has
removed before. Two things differ. NLTK first looks for ends of sentences, with a trained list of abbreviations; with
no such list it would cut 6 of the 20,801 answers of CMRC2018's train, dev and trial files further
("st. john"). And NLTK itself has changed: 3.6 leaves dashes in words, which matters to 20 of these answers.
SQuAD's (evaluate-v1.1.py) compares bags of words, without articles.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Callable

from ernie_tiny.errors import InputError

# The official list has "……" as one entry, which no single character equals: ellipses are kept.
PUNCTUATION = frozenset("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
CHINESE = re.compile("([\u4e00-\u9fa5])")
ARTICLES = re.compile(r"\b(a|an|the)\b")

OPENING_RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"[«‘„]", r" \g<0> "),
        (r'^"', " `` "),
        (r"([ (\[{<])(\"|'')", r"\1 `` "),
        (r"(?<!\w)'(?!(?:re|ve|ll|m|t|s|d|n)\b)(?=\w)", "' "),
        (r"([^.])\.([\])}>\"'» ]*)\s*$", r"\1 . \2 "),
        (r",([^\d])", r" , \1"),
        (r",$", " , "),
        (r"\.{2,}", r" \g<0> "),
        (r"[;@#$%&?!\u2012-\u2015]", r" \g<0> "),
        (r"([^'])' ", r"\1 ' "),
        (r"[\]\[(){}<>]", r" \g<0> "),
    )
)
CLOSING_RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        ("»", " » "),
        (r"''|\"", " '' "),
        (r"\s+", " "),
        (r"([^' ])('[smd]|') ", r"\1 \2 "),
        (r"([^' ])('ll|'re|'ve|n't) ", r"\1 \2 "),
        (r"\b(can(?=not\b)|gim(?=me\b)|lem(?=me\b)|gon(?=na\b)|got(?=ta\b))(\w+)", r" \1 \2 "),
        (r"\b(d(?='ye\b)|more(?='n\b))('\w+)", r" \1 \2 "),
        (r"\b(wan)(na)(?=\s)", r" \1 \2 "),
        (r" ('t)(is)\b", r" \1 \2 "),
        (r" ('t)(was)\b", r" \1 \2 "),
    )
)


def question_scores(
    predictions: Mapping[str, str], references: Mapping[str, Sequence[str]], scorer: str
) -> dict[str, list[float]]:
    """{"exact_match", "f1"} of each question, in the order of the references, 0 to 1: the best over its answers.

    Args:
        predictions: One for every question.
        scorer: A key of SCORERS.
    Raises:
        InputError: A question has no reference.
    """
    missing = [name for name, answers in references.items() if not answers]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(references)} questions have no reference answer; the first is {missing[0]!r}. "
            "Score a split that has answers."
        )
    return {
        metric: [max(compare(predictions[name], answer) for answer in answers) for name, answers in references.items()]
        for metric, compare in SCORERS[scorer].items()
    }


def exact_match(prediction: str, answer: str) -> float:
    """CMRC2018: 1.0 when both are equal in lower case and without punctuation, else 0.0."""
    return float(_bare(prediction) == _bare(answer))


def f1(prediction: str, answer: str) -> float:
    """CMRC2018: F1 of the longest run of segments that both share: a substring, not the bag of words of SQuAD."""
    found, expected = segment(prediction), segment(answer)
    common = _longest_common_run(found, expected)
    return 2 * common / (len(found) + len(expected)) if common else 0.0


def segment(text: str) -> list[str]:
    """Chinese characters one by one, and the words between them; lower case, punctuation removed."""
    parts = CHINESE.split(_bare(text))
    return [piece for part in parts for piece in ([part] if CHINESE.fullmatch(part) else _words(part))]


def _bare(text: str) -> str:
    return "".join(character for character in text.lower().strip() if character not in PUNCTUATION)


def _words(run: str) -> list[str]:
    for pattern, replacement in OPENING_RULES:
        run = pattern.sub(replacement, run)
    run = f" {run} "
    for pattern, replacement in CLOSING_RULES:
        run = pattern.sub(replacement, run)
    return run.split()


def _longest_common_run(first: Sequence[str], second: Sequence[str]) -> int:
    longest, ending = 0, [0] * (len(second) + 1)
    for item in first:
        ending = [0, *(ending[index] + 1 if item == other else 0 for index, other in enumerate(second))]
        longest = max(longest, *ending)
    return longest


def squad_exact_match(prediction: str, answer: str) -> float:
    """SQuAD: 1.0 when both are equal in lower case, without punctuation and articles, else 0.0."""
    return float(squad_words(prediction) == squad_words(answer))


def squad_f1(prediction: str, answer: str) -> float:
    """SQuAD: F1 of the bags of words."""
    found, expected = squad_words(prediction), squad_words(answer)
    common = sum((Counter(found) & Counter(expected)).values())
    return 2 * common / (len(found) + len(expected)) if common else 0.0


def squad_words(text: str) -> list[str]:
    """The words of a text, in lower case, without ASCII punctuation and the articles."""
    bare = "".join(character for character in text.lower() if character not in string.punctuation)
    return ARTICLES.sub(" ", bare).split()


SCORERS: Mapping[str, Mapping[str, Callable[[str, str], float]]] = MappingProxyType(
    {
        "cmrc2018": {"exact_match": exact_match, "f1": f1},
        "squad": {"exact_match": squad_exact_match, "f1": squad_f1},
    }
)
