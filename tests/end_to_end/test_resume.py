"""Nothing is lost: the same command ends at the same bytes, however often and in whatever way it was stopped before.

ERNIE_TINY_KILLS=20 kills each run twenty times instead of three; ERNIE_TINY_KILLS_SEED draws other moments.
"""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import pytest

from tests.end_to_end.conftest import KILLS
from tests.end_to_end.tiny import METHODS, TROUBLES, Runs, results

MakeRuns = Callable[[str], Runs]


def assert_equal(expected: Path, found: Path) -> None:
    one, other = results(expected), results(found)
    assert one.keys() == other.keys()
    assert [name for name in one if one[name] != other[name]] == []


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_run_ends_at_the_bytes_of_the_undisturbed_one(method: str, runs: MakeRuns) -> None:
    found = runs(method)
    assert len(found.moments) == KILLS
    assert_equal(found.whole, found.killed)


@pytest.mark.parametrize("method", TROUBLES)
def test_what_stops_a_run_is_said_and_the_same_command_goes_on(method: str, runs: MakeRuns) -> None:
    found = runs(method)
    assert found.codes == [*(trouble.code for trouble in TROUBLES[method]), 0]
    for trouble, said in zip(TROUBLES[method], found.said):
        assert [part for part in trouble.said if part not in said] == [], said
        assert "Traceback" not in said
    assert_equal(found.whole, found.troubled)
    assert list(found.troubled.rglob("*.partial")) == []
