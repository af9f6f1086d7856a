"""Hostile values for every key of the schema, hostile rows and hostile command lines.

What is refused is an InputError (exit code 2 on a command line); what passes is in its range, and can be planned.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any, get_args, get_type_hints
from unittest.mock import patch

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ernie_tiny.cli.command import run_command
from ernie_tiny.config import load_config, to_yaml
from ernie_tiny.config.ranges import check_numbers
from ernie_tiny.config.schema import RunConfig
from ernie_tiny.data.task import TaskSpec
from ernie_tiny.errors import InputError
from ernie_tiny.kinds.read import read_split
from ernie_tiny.runs.plan import plan
from tests.fuzz.test_fuzz import EXAMPLES, NAMES, SCALARS, VALUES, fuzz

often = settings(fuzz, max_examples=int(EXAMPLES or 150))

# ---- every key of the schema

TASK = {"kind": "pair", "texts": ["a", "b"], "labels": ["0", "1"], "files": {"train": ["a.jsonl"], "dev": ["a.jsonl"]}}
SHAPE = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2}
BASE: dict[str, Any] = {
    "name": "toy",
    "models": {"student": SHAPE, "teacher": SHAPE},
    "data": {"tasks": {"mine": TASK}, "corpora": {"general": {"files": ["a.txt"]}}},
    "stages": [
        {
            "name": "s",
            "train": "student",
            "teacher": "teacher",
            "data": {"tasks": ["mine"]},
            "objective": {"hard": {}, "soft": {}},
            "optim": {"max_steps": 3, "batch_size": 4},
        }
    ],
}
KEY_OF_ENTRY = {"models": "student", "tasks": "mine", "corpora": "general", "task_settings": "mine", "stages": 0}


def keys(kind: Any = RunConfig, above: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The places of all keys of the schema in BASE, with their types."""
    for name, hint in get_type_hints(kind).items():
        place = (*above, name)
        yield place, hint
        held = next((part for part in (hint, *get_args(hint)) if dataclasses.is_dataclass(part)), None)
        if held is not None:
            entry = (KEY_OF_ENTRY[name],) if name in KEY_OF_ENTRY else ()
            yield from keys(held, (*place, *entry))


KEYS = list(keys())
NUMBERS = [place for place, hint in KEYS if {int, float} & {hint, *get_args(hint)}]
PATHS = ["~/x", "./x", "../x", "/", "/dev/null", "a\0b", "x" * 5000, "a.jsonl", "a.jsonl/x", "\ud800", "𝄞", " ", "a\nb"]
HOSTILE = VALUES | st.sampled_from([*PATHS, 10**400, -(10**400), 1e308, 5e-324, "1e999", ".nan", "0x10", [], {}, [[]]])


def put(content: Any, place: tuple[Any, ...], value: Any) -> Any:
    """The content with a value at a place, blocks that are not there made on the way."""
    if not place:
        return value
    if isinstance(content, list):
        return [put(item, place[1:], value) if index == place[0] else item for index, item in enumerate(content)]
    block = content if isinstance(content, dict) else {}  # a teacher is a model's name, or a block
    return {**block, place[0]: put(block.get(place[0]), place[1:], value)}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("schema")
    (home / "a.jsonl").write_text('{"a": "今", "b": "天", "label": "0"}\n', encoding="utf-8")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(home)
        yield home


def load(home: Path, content: Any) -> RunConfig:
    file = home / "run.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_config(file)


def in_range(run: RunConfig) -> None:
    check_numbers(run, "", lambda key, reason: AssertionError(f"{key} {reason}"))  # type: ignore[arg-type, return-value]


def test_the_walk_reaches_every_block() -> None:
    places = {".".join(map(str, place)) for place, _ in KEYS}
    assert {"stages.0.objective.mlm.probability", "models.student.init_layers", "export.tolerance"} <= places
    assert len(NUMBERS) > 80


@often
@given(data=st.data(), key=st.sampled_from(KEYS))
def test_a_hostile_value_of_any_key(home: Path, data: st.DataObject, key: tuple[tuple[Any, ...], Any]) -> None:
    content = put(BASE, key[0], data.draw(HOSTILE))
    try:
        run = load(home, content)
    except InputError:
        return
    in_range(run)
    with suppress(InputError):
        plan(run)
    assert load(home, yaml.safe_load(to_yaml(run))) == run


@often
@given(place=st.sampled_from(NUMBERS), value=st.sampled_from([math.nan, math.inf, -math.inf, -(2**70), 2**1100]))
def test_no_number_that_is_none_passes(home: Path, place: tuple[Any, ...], value: float) -> None:
    with pytest.raises(InputError):
        load(home, put(BASE, place, value))


# ---- rows

CELL = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["", '"', '""', "a\tb", "a,b", "a\nb", "a\rb", "\ufeff", "\u2028", "NA", "null", "1e999", "NaN", "'", "\\", " x "]
)
ROWS = st.lists(st.tuples(CELL, CELL, st.sampled_from(["0", "1", "-", " 0", "NaN", ""])), min_size=1, max_size=4)


def spec(file_format: str) -> TaskSpec:
    return TaskSpec("mine", "pair", {"train": ("rows",)}, ("a", "b"), ("0", "1"), file_format=file_format)


@often
@given(rows=ROWS, file_format=st.sampled_from(["csv", "tsv"]), quoted=st.booleans())
def test_tables(home: Path, rows: list[tuple[str, str, str]], file_format: str, quoted: bool) -> None:
    text = io.StringIO()
    style: dict[str, Any] = {"quoting": csv.QUOTE_ALL} if quoted else {"quoting": csv.QUOTE_MINIMAL}
    table = csv.writer(text, delimiter="," if file_format == "csv" else "\t", lineterminator="\n", **style)
    table.writerows([("a", "b", "label"), *rows])
    (home / "rows").write_bytes(text.getvalue().encode())
    with suppress(InputError):
        assert read_split(spec(file_format), home, "train").examples


@often
@given(rows=ROWS)
def test_json_lines_keep_what_they_hold(home: Path, rows: list[tuple[str, str, str]]) -> None:
    records = [{"a": one, "b": other, "label": label} for one, other, label in rows]
    (home / "rows").write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    if not all(label in ("0", "1") for *_, label in rows):
        with pytest.raises(InputError):
            read_split(spec("jsonl"), home, "train")
        return
    found = read_split(spec("jsonl"), home, "train").examples
    assert [(*example.texts, "01"[int(example.label or 0)]) for example in found] == rows


@often
@given(records=st.lists(st.dictionaries(st.sampled_from(["a", "b", "label", "id", " a", ""]), VALUES), max_size=3))
def test_json_lines_of_anything(home: Path, records: list[dict[str, Any]]) -> None:
    (home / "rows").write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    with suppress(InputError):
        for example in read_split(spec("jsonl"), home, "train").examples:
            assert example.label in (0, 1) and all(isinstance(text, str) for text in example.texts)


# ---- command lines

WORDS = st.sampled_from(
    ["-c", "-o", "--check", "--config", "--bogus", "-h", "run.yaml", "gone.yaml", ".", "", *PATHS[:5]]
)
OVERRIDES = st.builds(
    lambda place, equals, value: ".".join(map(str, place)) + equals + value,
    st.sampled_from([place for place, _ in KEYS]),
    st.sampled_from(["=", "=", "=", ""]),
    SCALARS.map(json.dumps) | NAMES | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)


@often
@given(words=st.lists(WORDS, max_size=3), overrides=st.lists(OVERRIDES, max_size=2))
def test_command_lines(home: Path, words: list[str], overrides: list[str]) -> None:
    """train.py --check ends with 0, or with one error of its own and 2."""
    (home / "run.yaml").write_text(yaml.safe_dump(BASE), encoding="utf-8")
    command = ["train.py", "-c", "run.yaml", *words, "--check", *(["-o", *overrides] if overrides else [])]
    said = io.StringIO()
    with patch.object(sys, "argv", command), redirect_stdout(io.StringIO()), redirect_stderr(said):
        try:
            run_command("train")
        except SystemExit as end:
            assert end.code in (0, 2), said.getvalue()
    assert "Traceback" not in said.getvalue()
