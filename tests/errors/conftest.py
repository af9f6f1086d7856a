"""The table of docs/errors.md, and the check that a message says what its row promises."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Callable

import pytest

TABLE = Path(__file__).resolve().parents[2] / "docs" / "errors.md"
Says = Callable[[str, object], None]


@pytest.fixture(scope="session")
def rows() -> Mapping[str, str]:
    """Id to what is said."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    table = [line for line in lines if re.match(r"\| [A-Z]\d+ \|", line)]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table]
    assert all(len(row) == 4 and all(row) for row in cells)
    return {row[0]: row[2] for row in cells}


@pytest.fixture(scope="session")
def says(rows: Mapping[str, str]) -> Says:
    """Fails unless a message holds, in order, the parts of what is quoted in a row; … stands for anything between."""

    def check(row: str, message: object) -> None:
        quoted = re.findall(r"`([^`]+)`", rows[row])[0]
        pattern = ".*?".join(re.escape(part) for part in quoted.split("…"))
        assert re.search(pattern, str(message), re.DOTALL), f"{row}: promised {quoted!r}, said {str(message)!r}"

    return check
