"""Entities as tags, one a character or a token, and back: the schemes BIO, BIOES and BMES.

An entity of one piece is B (BIO) or S; of more it begins with B, goes on with I (BMES: M) and ends with E (BIO: I).
Tags are read strictly, as seqeval's strict mode reads them (https://github.com/chakki-works/seqeval): what does not
keep to the scheme is no entity, and is counted as a broken sequence. Own code, since seqeval makes objects of every tag
and takes minutes for a training set of two million characters; the tests compare the two.

A model's answer is decoded so that nothing breaks: where its most probable tags do not keep to the scheme, the most
probable sequence that does stands in their place (Viterbi 1967, over transitions that are allowed or not).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from ernie_tiny.batch import Array

Span = tuple[str, int, int]  # type, first piece, end

# Scheme to the prefixes of an entity's first, inner and last piece, and of its only one.
PREFIXES: Mapping[str, tuple[str, str, str, str]] = MappingProxyType(
    {"bio": ("B", "I", "I", "B"), "bioes": ("B", "I", "E", "S"), "bmes": ("B", "M", "E", "S")}
)
OUTSIDE = "O"


def tag_names(types: Sequence[str], scheme: str) -> tuple[str, ...]:
    """Every tag of a scheme: O, then the prefixes of each type."""
    prefixes = dict.fromkeys(PREFIXES[scheme])
    return (OUTSIDE, *(f"{prefix}-{name}" for name in types for prefix in prefixes))


def tags_of(spans: Sequence[Span], length: int, scheme: str) -> list[str]:
    """The tags of so many pieces that hold these entities, none of which overlaps another."""
    first, inner, last, only = PREFIXES[scheme]
    tags = [OUTSIDE] * length
    for name, start, end in spans:
        for place in range(start, end):
            prefix = only if end - start == 1 else first if place == start else last if place == end - 1 else inner
            tags[place] = f"{prefix}-{name}"
    return tags


def spans_of(tags: Sequence[str], scheme: str) -> tuple[list[Span], int]:
    """The entities that tags hold by the letter of the scheme, and the number of broken sequences beside them.

    A broken sequence is a stretch of tags of one type that does not begin, or does not end, as the scheme wants.
    """
    first, inner, last, only = PREFIXES[scheme]
    ends_itself = last == inner  # BIO: an entity ends where it does not go on
    spans: list[Span] = []
    broken = 0
    open_at, open_name, stray = -1, "", ""  # an entity that goes on; the type of a broken stretch

    for place, tag in enumerate([*tags, OUTSIDE]):
        prefix, _, name = tag.partition("-")
        goes_on = open_at >= 0 and name == open_name and prefix in (inner, last)
        if open_at >= 0 and not goes_on:
            if ends_itself:
                spans.append((open_name, open_at, place))
            else:
                broken += 1
            open_at = -1
        if goes_on:
            if prefix == last and not ends_itself:
                spans.append((open_name, open_at, place + 1))
                open_at = -1
            continue
        if prefix == first:
            open_at, open_name, stray = place, name, ""
        elif prefix == only:
            spans.append((name, place, place + 1))
            stray = ""
        elif prefix == OUTSIDE:
            stray = ""
        elif stray != name:  # goes on with what has not begun
            broken += 1
            stray = name
    return spans, broken


def best_tags(scores: Array, types: Sequence[str], scheme: str) -> Array:
    """The sequence of tags with the highest sum of scores among those that keep to the scheme.

    Args:
        scores: float [pieces, tags] in the order of tag_names, as log-probabilities; at least one piece.

    Returns:
        int [pieces]: tags by number. Of sequences alike the one whose last tags have the lower numbers.
    """
    begins, follows, ends = _allowed(tuple(types), scheme)
    best = np.where(begins, scores[0], -np.inf)
    before = np.zeros(scores.shape, np.int64)
    for place in range(1, len(scores)):
        sums = np.where(follows, best[:, None], -np.inf)
        before[place] = sums.argmax(axis=0)
        best = sums.max(axis=0) + scores[place]
    tags = np.zeros(len(scores), np.int64)
    tags[-1] = np.where(ends, best, -np.inf).argmax()
    for place in range(len(scores) - 1, 0, -1):
        tags[place - 1] = before[place, tags[place]]
    return tags


@lru_cache
def _allowed(types: tuple[str, ...], scheme: str) -> tuple[Array, Array, Array]:
    """bool [tags], [tags, tags], [tags]: which tag may begin a text, follow another (its row), and end a text."""
    first, inner, last, only = PREFIXES[scheme]
    tags = [tag.partition("-")[::2] for tag in tag_names(types, scheme)]
    begins = np.array([prefix in (OUTSIDE, first, only) for prefix, _ in tags])
    goes_on = np.array(  # with the same entity
        [
            [prefix in (first, inner) and following in (inner, last) and name == other for following, other in tags]
            for prefix, name in tags
        ]
    )
    ends = np.array([prefix in (OUTSIDE, last, only) or last == inner for prefix, _ in tags])
    return begins, goes_on | (ends[:, None] & begins), ends
