"""Sets Paddle up as the tools do, before any test imports it, and says in words what a test is given."""

from __future__ import annotations

import os
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path, PurePath
from typing import Optional

import pytest

from ernie_tiny.data.sample import write_sample
from ernie_tiny.runtime import prepare

prepare("cpu", threads=1 if "PYTEST_XDIST_WORKER" in os.environ else 0)  # workers share the cores

LONGEST_ID = 80  # characters of one value in a test's id


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with the embedded sample data; no test may change it."""
    root = tmp_path_factory.mktemp("sample")
    write_sample(root)
    return root


def pytest_make_parametrize_id(val: object, argname: str) -> Optional[str]:
    """A value's part of a test's id: a text as it is; a number or an object behind the parameter's name, as in width=8.

    None for what pytest calls by a name of its own: functions, classes, members of an Enum. A function without a name
    is called by the parameter's.
    """
    if isinstance(val, Enum) or hasattr(val, "__name__"):
        return argname if getattr(val, "__name__", "") == "<lambda>" else None
    if isinstance(val, (str, PurePath)) and str(val).isprintable() and str(val).strip():
        words = str(val)
    else:
        words = f"{argname}={' '.join(_shown(val).split())}"
    return words if len(words) <= LONGEST_ID else f"{words[: LONGEST_ID - 3]}..."


def _shown(val: object) -> str:
    """As repr; of a record only what differs from its defaults, of bytes the text that they are."""
    if isinstance(val, bytes):
        return repr(val.decode(errors="backslashreplace"))
    if not is_dataclass(val) or isinstance(val, type):
        return repr(val)
    given = {field.name: getattr(val, field.name) for field in fields(val)}
    usual = {
        field.name: field.default_factory() if callable(field.default_factory) else field.default
        for field in fields(val)
    }
    shown = [f"{name}={_shown(value)}" for name, value in given.items() if value != usual[name]]
    return f"{type(val).__name__}({', '.join(shown)})"
