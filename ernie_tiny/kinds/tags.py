"""Entities as tags, one a character or a token, and back: the schemes BIO, BIOES and BMES.

An entity of one piece is B (BIO) or S; of more it begins with B, goes on with I (BMES: M) and ends with E (BIO: I).
Tags are read strictly, as seqeval's strict mode reads them (https://github.com/chakki-works/seqeval): what does not
keep to the scheme is no entity, and is counted as a broken sequence. Own code, since seqeval makes objects of every tag
and takes minutes for a training set of two million characters; the tests compare the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

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
