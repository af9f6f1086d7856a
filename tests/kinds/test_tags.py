"""Tags are read as seqeval's strict mode reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.scheme import IOB2, IOBES, Entities

from ernie_tiny.kind_facts import SCHEMES
from ernie_tiny.kinds.tags import spans_of, tag_names, tags_of

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
