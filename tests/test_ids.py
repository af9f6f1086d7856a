"""The ids of tests, which say what a case is."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path
from typing import Optional

import pytest

from ernie_tiny.config.schema import SoftTerm
from tests.conftest import LONGEST_ID, pytest_make_parametrize_id


class Colour(Enum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("teacher@enhance", "teacher@enhance"),
        ("甲乙", "甲乙"),
        ("", "given=''"),
        ("a\nb", r"given='a\nb'"),
        (b"\xff\n", r"given='\\xff\n'"),
        (SoftTerm(temperature=2.0), "given=SoftTerm(temperature=2.0)"),
        (Path("a/b.txt"), "a/b.txt"),
        (312, "given=312"),
        (None, "given=None"),
        ([[0, 4], "top"], "given=[[0, 4], 'top']"),
        ("x" * 100, "x" * (LONGEST_ID - 3) + "..."),
        (lambda: None, "given"),
        (Colour.RED, None),
        (int, None),
        (re.sub, None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_said_in_words(value: object, expected: Optional[str]) -> None:
    assert pytest_make_parametrize_id(value, "given") == expected


def test_no_id_of_this_session_counts_objects_or_says_where_they_lie(request: pytest.FixtureRequest) -> None:
    found = [
        item.nodeid
        for item in request.session.items
        if hasattr(item, "callspec")
        and re.search(rf"(?:\b(?:{'|'.join(item.callspec.params)})\d+|<lambda>\d+)(?:-|$)| at 0x", item.callspec.id)
    ]
    assert found == []
