"""Tags are read as seqeval's strict mode reads them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.scheme import IOB2, IOBES, Entities

from ernie_tiny.kind_facts import SCHEMES
from ernie_tiny.kinds.tags import best_tags, spans_of, tag_names, tags_of

TYPES = ("PER", "LOC")
SEQEVAL = {"bio": IOB2, "bioes": IOBES}


@pytest.mark.parametrize("scheme", SEQEVAL)
@given(data=st.data())
def test_entities_are_seqevals(scheme: str, data: st.DataObject) -> None:
    tags = data.draw(st.lists(st.sampled_from(tag_names(TYPES, scheme)), min_size=1, max_size=10))
    expected = [(entity.tag, entity.start, entity.end) for entity in Entities([tags], SEQEVAL[scheme]).entities[0]]
    assert spans_of(tags, scheme)[0] == expected


@pytest.mark.parametrize("scheme", SCHEMES)
@given(lengths=st.lists(st.tuples(st.sampled_from((*TYPES, "")), st.integers(1, 4)), max_size=6))
def test_tags_hold_the_entities_that_they_were_made_of(scheme: str, lengths: list[tuple[str, int]]) -> None:
    spans, place = [], 0
    for name, length in lengths:
        spans += [(name, place, place + length)] if name else []
        place += length
    tags = tags_of(spans, place, scheme)
    assert set(tags) <= set(tag_names(TYPES, scheme))
    assert spans_of(tags, scheme) == (spans, 0)


def test_the_tags_of_each_scheme() -> None:
    spans = [("PER", 0, 1), ("LOC", 2, 5)]
    assert tags_of(spans, 6, "bio") == ["B-PER", "O", "B-LOC", "I-LOC", "I-LOC", "O"]
    assert tags_of(spans, 6, "bioes") == ["S-PER", "O", "B-LOC", "I-LOC", "E-LOC", "O"]
    assert tags_of(spans, 6, "bmes") == ["S-PER", "O", "B-LOC", "M-LOC", "E-LOC", "O"]
    assert tag_names(("PER",), "bmes") == ("O", "B-PER", "M-PER", "E-PER", "S-PER")


@pytest.mark.parametrize(
    ("scheme", "tags", "entities", "broken"),
    [
        ("bio", "I-PER O B-PER", [("PER", 2, 3)], 1),
        ("bio", "B-PER I-LOC I-LOC", [("PER", 0, 1)], 1),
        ("bmes", "B-PER O", [], 1),
        ("bmes", "B-PER S-PER", [("PER", 1, 2)], 1),
        ("bmes", "M-PER E-PER B-PER E-PER", [("PER", 2, 4)], 1),
        ("bmes", "B-PER B-PER E-PER E-PER", [("PER", 1, 3)], 2),
        ("bmes", "B-PER M-LOC E-PER", [], 3),
        ("bmes", "O O", [], 0),
    ],
)
def test_what_does_not_keep_to_the_scheme_is_counted(
    scheme: str, tags: str, entities: list[tuple[str, int, int]], broken: int
) -> None:
    assert spans_of(tags.split(), scheme) == (entities, broken)


def log_probabilities(data: st.DataObject, pieces: int, tags: int) -> np.ndarray:
    """Multiples of a quarter, so that sums are exact and equal ones meet."""
    values = data.draw(st.lists(st.integers(-16, 0), min_size=pieces * tags, max_size=pieces * tags))
    return np.array(values, float).reshape(pieces, tags) / 4


@pytest.mark.parametrize("scheme", SCHEMES)
@given(data=st.data())
def test_the_best_tags_are_the_best_of_all_that_keep_to_the_scheme(scheme: str, data: st.DataObject) -> None:
    names = tag_names(TYPES, scheme)
    scores = log_probabilities(data, data.draw(st.integers(1, 3)), len(names))
    whole = [
        sum(scores[place, tag] for place, tag in enumerate(tags))
        for tags in itertools.product(range(len(names)), repeat=len(scores))
        if spans_of([names[tag] for tag in tags], scheme)[1] == 0
    ]
    found = best_tags(scores, TYPES, scheme)
    assert spans_of([names[tag] for tag in found], scheme)[1] == 0
    assert scores[np.arange(len(found)), found].sum() == max(whole)


def test_a_break_is_mended_where_it_costs_least() -> None:
    names = tag_names(("PER",), "bmes")
    scores = np.log([
        # O    B    M    E    S
        [0.1, 0.6, 0.1, 0.1, 0.1],
        [0.1, 0.1, 0.1, 0.3, 0.4],  # the most probable tag here would end what has not ended: B S
        [0.6, 0.1, 0.1, 0.1, 0.1],
    ])  # fmt: skip
    assert [names[tag] for tag in best_tags(scores, ("PER",), "bmes")] == ["B-PER", "E-PER", "O"]


def test_one_piece_alone_is_never_a_part() -> None:
    names = tag_names(("PER",), "bioes")
    scores = np.log([[0.1, 0.6, 0.1, 0.1, 0.1]])
    assert names[best_tags(scores, ("PER",), "bioes")[0]] in ("O", "S-PER")
