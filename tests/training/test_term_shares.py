"""A term that hardly counts is named once, and only when it has had its chance."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import pytest

from ernie_tiny.training.callbacks import StageLog
from ernie_tiny.training.events import EventLog, read_events
from ernie_tiny.training.term_shares import INTERVALS, TermShares


def interval(weights: dict[str, float], raw: float = 1.0) -> dict[str, float]:
    """What is logged when every raw loss is the same."""
    values = {"loss": 1.0, "learning_rate": 0.1}
    for name, weight in weights.items():
        values.update({f"raw/{name}": raw, f"weighted/{name}": raw * weight})
    return values


def test_a_small_term_is_named_once_after_ten_intervals_with_its_share_and_weight() -> None:
    shares, said = TermShares("TSD/tnews"), []
    for number in range(3 * INTERVALS):
        found = shares.add(interval({"hard": 1.0, "hidden": 0.004, "soft": 0.02}))
        assert bool(found) == (number == INTERVALS - 1)
        said += found
    (text,) = said
    assert text.startswith("TSD/tnews: the term hidden is at most 0.39 % of the weighted loss over 10 logged")
    assert "stages.TSD.objective.hidden.weight" in text
    assert shares.end() == []


def test_a_term_that_counts_in_one_of_the_intervals_is_not_named() -> None:
    shares = TermShares("stage")
    for number in range(INTERVALS):
        values = interval({"hard": 1.0, "soft": 0.001})
        if number == 4:
            values.update({"raw/soft": 20.0, "weighted/soft": 0.02})
        assert shares.add(values) == []
    assert shares.end() == []


def test_a_shorter_stage_is_judged_at_its_end() -> None:
    shares = TermShares("stage")
    assert shares.add(interval({"hard": 1.0, "soft": 0.001})) == []
    assert len(shares.end()) == 1 and shares.end() == []
    assert TermShares("stage").end() == []


def test_each_model_has_its_own_total() -> None:
    shares = TermShares("online")
    values = interval({"nano/hidden": 1.0, "nano/relation": 0.001, "pico/hidden": 0.01, "pico/relation": 0.01})
    shares.add(values)
    (text,) = shares.end()
    assert "the term relation is at most 0.1 % of the weighted loss of nano over 1" in text
    assert "stages.online.objective.relation.weight" in text


@pytest.mark.parametrize("length", [5, 50])
def test_a_weight_that_rises_is_judged_where_it_arrives(length: int) -> None:
    shares, said = TermShares("stage"), []
    for number in range(length):
        said += shares.add(interval({"hard": 1.0, "soft": 1e-4 * (number + 1)}, raw=2.0 - number / length))
    assert said + shares.end() == []  # still rising at the end
    for _ in range(INTERVALS):
        said += shares.add(interval({"hard": 1.0, "soft": 1e-4 * length}))
    assert len(said) == 1


@pytest.mark.parametrize("value", [math.nan, 0.0])
def test_without_a_total_nothing_is_said(value: float) -> None:
    shares = TermShares("stage")
    shares.add({"raw/a": 1.0, "weighted/a": value, "raw/b": 0.0, "weighted/b": 0.0 * value})
    assert shares.end() == []


def test_the_stage_log_warns_and_keeps_the_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = StageLog("distil", EventLog(tmp_path), None)
    with caplog.at_level(logging.WARNING):
        for step in range(INTERVALS + 2):
            log.record(step, interval({"hard": 1.0, "soft": 0.001}))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    (event,) = [event for event in read_events(tmp_path) if event["event"] == "warning"]
    assert event["stage"] == "distil" and event["text"] == caplog.messages[0]


@pytest.mark.parametrize(("finished", "warnings"), [(True, 1), (False, 0)])
def test_a_stage_is_judged_at_its_end_and_not_where_it_was_interrupted(finished, warnings, tmp_path) -> None:
    log = StageLog("distil", EventLog(tmp_path), None)
    log.record(1, interval({"hard": 1.0, "soft": 0.001}))
    log.end(finished)
    assert len([event for event in read_events(tmp_path) if event["event"] == "warning"]) == warnings
