"""The table of docs/errors.md, and the check that a message says what its row promises."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Callable

import pytest

from ernie_tiny.errors import InputError
from ernie_tiny.models.backbone import build_encoder
from tests.shapes import TINY

TABLE = Path(__file__).resolve().parents[2] / "docs" / "errors.md"
Says = Callable[[str, object], None]
SHAPE = {**TINY, "num_hidden_layers": 1}


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


@pytest.fixture(scope="session")
def refuses(says: Says) -> Callable[[str], AbstractContextManager[None]]:
    """A block that an InputError is to end, which says what its row promises."""

    @contextmanager
    def refusing(row: str) -> Iterator[None]:
        with pytest.raises(InputError) as caught:
            yield
        says(row, caught.value)

    return refusing


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    build_encoder("ernie", SHAPE).save_pretrained(str(tmp_path / "saved"), safe_serialization=True)
    return tmp_path / "saved"
