"""A family is asked for in its object and its facts; nowhere else does the code ask for one by its name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OWN = {"ernie_tiny/models/bilstm.py", "ernie_tiny/models/families.py", "ernie_tiny/family_facts.py"}
FILES = [
    path
    for path in sorted((ROOT / "ernie_tiny").rglob("*.py"))
    if str(path.relative_to(ROOT)) not in OWN and path.parent.name != "config"
]


def questions(source: str) -> Iterator[int]:
    """Lines of code, docstrings and messages apart, that name the BiLSTM: by a name, or by the text "bilstm"."""
    for node in ast.walk(ast.parse(source)):
        names = {
            ast.Name: lambda it: it.id,
            ast.Attribute: lambda it: it.attr,
            ast.alias: lambda it: it.name,
            ast.ImportFrom: lambda it: it.module or "",
        }
        named = names.get(type(node), lambda it: "")(node)
        text = isinstance(node, ast.Constant) and node.value == "bilstm"
        if "bilstm" in named.lower() or text:
            yield getattr(node, "lineno", 0)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_family_is_asked_for_by_name(path: Path) -> None:
    assert not list(questions(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "sample",
    [
        'x = family == "bilstm"',
        'x = family in ("ernie", "bilstm")',
        'x = {"bilstm": 3}',
        "x = isinstance(shape, BiLstmShape)",
        "x = families.BILSTM",
        "from ernie_tiny.models.bilstm import Anything",
        "from ernie_tiny.models.anything import BiLstmModel",
        'match family:\n    case "bilstm":\n        pass',
    ],
)
def test_questions_are_found(sample: str) -> None:
    if sample.startswith("match") and not hasattr(ast, "Match"):
        pytest.skip("this Python has no match")
    assert list(questions(sample))


def test_messages_may_name_it() -> None:
    assert not list(questions('"""A BiLSTM."""\nx = "the model is a BiLSTM"\n'))
