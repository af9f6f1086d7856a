"""What the project imports is what setup.py asks for, in a range that somebody thought about."""

from __future__ import annotations

import ast
import runpy
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
OWN = ("ernie_tiny", "tests", "benchmarks")
# Where the name to import is not the name to install.
DISTRIBUTIONS = {
    **{"paddle": "paddlepaddle", "sklearn": "scikit-learn", "yaml": "pyyaml", "PIL": "pillow"},
    "prometheus_client": "prometheus-client",
}
BY_NAME = ("import_module", "importorskip", "needed")  # functions that import what their first argument names
NEEDS_LIST = pytest.mark.skipif(sys.version_info < (3, 10), reason="Python 3.9 has no list of its own modules")


def declared(name: str) -> Any:
    """The value of a name in setup.py."""
    with patch("setuptools.setup"):
        return runpy.run_path(str(ROOT / "setup.py"))[name]


INSTALL: list[str] = declared("INSTALL")
EXTRAS: dict[str, list[str]] = declared("EXTRAS")
LINES = sorted({line for lines in (INSTALL, *EXTRAS.values()) for line in lines})
FOR_USERS = [*INSTALL, *(line for extra, lines in EXTRAS.items() if extra != "test" for line in lines)]


def names(lines: Iterable[str]) -> set[str]:
    return {Requirement(line).name.lower() for line in lines}


def libraries(source: str) -> set[str]:
    """What is to be installed for the imports of a source, wherever in it they stand."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in BY_NAME and node.args:
            named = node.args[0]
            if isinstance(named, ast.Constant) and isinstance(named.value, str):
                found.add(named.value.split(".")[0])
    return {DISTRIBUTIONS.get(name, name) for name in found - set(OWN) - set(sys.stdlib_module_names)}


def undeclared(folders: Iterable[str], lines: Iterable[str]) -> list[str]:
    """The libraries that files of these folders import and these lines do not name, each with its file."""
    known = names(lines)
    files = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    found = [(path, libraries(path.read_text(encoding="utf-8"))) for path in files]
    assert found
    return [f"{path.relative_to(ROOT)}: {name}" for path, used in found for name in sorted(used - known)]


@NEEDS_LIST
def test_what_the_package_imports_comes_with_it_or_with_an_extra_for_users():
    assert undeclared(("ernie_tiny", "tools"), FOR_USERS) == []


@NEEDS_LIST
def test_what_tests_and_benchmarks_import_is_declared():
    assert undeclared(("tests", "benchmarks"), LINES) == []


@NEEDS_LIST
def test_an_import_is_found_wherever_it_stands():
    source = "import os, yaml.nodes\nfrom . import here\ndef f():\n    from sklearn.metrics import f1_score\n"
    source += "from ernie_tiny import data\npytest.importorskip('torch.nn')\nimport_module(name)\nneeded('onnx')\n"
    assert libraries(source) == {"pyyaml", "scikit-learn", "torch", "onnx"}


@pytest.mark.parametrize("line", LINES)
def test_a_requirement_says_from_which_version(line: str):
    assert any(part.operator in ("==", ">=", "~=") for part in Requirement(line).specifier)


@pytest.mark.parametrize("line", [*INSTALL, *EXTRAS["test"]])
def test_what_is_installed_lies_in_the_range(line: str):
    requirement = Requirement(line)
    assert requirement.specifier.contains(metadata.version(requirement.name), prereleases=True)
