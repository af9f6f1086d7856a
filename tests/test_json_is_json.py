"""Every file and answer that calls itself JSON is JSON (RFC 8259): without NaN and Infinity."""

from __future__ import annotations

import ast
import json
import math
from pathlib import Path

import pytest

from ernie_tiny.errors import InputError
from ernie_tiny.files import finite_or_none, to_json
from ernie_tiny.training.events import EVENTS_FILE, EventLog, read_events

ROOT = Path(__file__).resolve().parent.parent
# What is hashed, shown in a message, compared or passed between processes, and never written as JSON.
NOT_WRITTEN = {
    "data/records.py",
    "data/wordpiece.py",
    "kinds/classification.py",
    "processes.py",
    "report/runs.py",
    "training/augmentation.py",
}


def strict(text: str) -> object:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    return json.loads(text, parse_constant=refuse)


def test_one_function_writes_json() -> None:
    calling = {
        str(path.relative_to(ROOT / top))
        for top in ("ernie_tiny", "tools")
        for path in (ROOT / top).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("dumps", "dump") and ast.unparse(node.value) == "json"
    }
    assert calling == {"files.py", *NOT_WRITTEN}  # take files.to_json


def test_what_is_written_is_read_by_everyone() -> None:
    value = {"文": [1, 2.5, None, True, "\u2028"]}
    assert strict(to_json(value)) == value
    assert to_json({"b": 1, "a": 2}, sort_keys=True) == '{"a": 2, "b": 1}'


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_named(number: float) -> None:
    with pytest.raises(InputError, match=r"^models\.1\.average = -?(nan|inf) is not a finite number"):
        to_json({"models": [{"average": 1.0}, {"average": number}]})
    assert finite_or_none({"a": [number, 1.0], "b": "nan"}) == {"a": [None, 1.0], "b": "nan"}


def test_events_of_a_diverging_run(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.write("log", stage="s", step=1, loss=math.inf, rate=0.5)
    (line,) = (tmp_path / EVENTS_FILE).read_text(encoding="utf-8").splitlines()
    assert strict(line)["loss"] is None  # type: ignore[index]
    (event,) = read_events(tmp_path)
    assert math.isnan(event["loss"]) and event["rate"] == 0.5 and event["step"] == 1
