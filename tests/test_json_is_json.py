"""Every file and answer that calls itself JSON is JSON (RFC 8259): without NaN and Infinity."""

from __future__ import annotations

import ast
import json
import math
from pathlib import Path

import numpy as np
import pytest

from ernie_tiny.batch import Feature
from ernie_tiny.data.task import Example, TaskSpec
from ernie_tiny.errors import InputError
from ernie_tiny.files import encoding_advice, encoding_of, finite_or_none, to_json
from ernie_tiny.kinds.ask import decode
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
    "training/checkpoint.py",
}


def strict(text: str) -> object:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    return json.loads(text, parse_constant=refuse)


def test_one_function_writes_json() -> None:
    for top in ("ernie_tiny", "tools"):
        for path in (ROOT / top).rglob("*.py"):
            calls = [
                node.lineno
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                if isinstance(node, ast.Attribute) and node.attr in ("dumps", "dump")
                if isinstance(node.value, ast.Name) and node.value.id == "json"
            ]
            name = str(path.relative_to(ROOT / top))
            assert not calls or name == "files.py" or name in NOT_WRITTEN, f"{path}:{calls}: take files.to_json"


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


def test_a_question_about_an_empty_context_has_no_score() -> None:
    spec = TaskSpec("mine", "reading", {"train": ("a",)})
    examples = [Example("1", ("谁", "")), Example("2", ("谁", "甲"))]
    ids = np.zeros(2, np.int32)
    features = [
        Feature("1", ((ids, ids),), offsets=np.array([[-1, -1], [-1, -1]])),
        Feature("2", ((ids, ids),), offsets=np.array([[-1, -1], [0, 1]])),
    ]
    empty, full = decode(spec, examples, features, [np.array([[0.0, 1.0], [0.0, 2.0]])] * 2)
    assert (empty.answer, empty.scores) == ("", ())
    assert (full.answer, full.scores) == ("甲", (3.0,))


@pytest.mark.parametrize(
    ("encoding", "said"),
    [("utf-16", "UTF-16"), ("utf-16-le", "UTF-16LE"), ("utf-16-be", "UTF-16BE"), ("utf-32", "UTF-32")],
)
def test_encodings_that_show_themselves(encoding: str, said: str) -> None:
    content = '{"text": "今天", "label": "1"}\n'.encode(encoding)
    assert encoding_of(content) == said
    assert f"it is {said}: iconv -f {said.lower()} -t utf-8" in encoding_advice(content)


@pytest.mark.parametrize("content", [b"", b"a", "今天天气".encode("gb18030"), "今天天气".encode(), b"\xef\xbb\xbfabcd"])
def test_encodings_that_do_not(content: bytes) -> None:
    assert encoding_of(content) is None
    assert "iconv -f gb18030" in encoding_advice(content)
