"""The pages that walk through commits name files and tests that are there, and quote code that stands in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs").glob("add-a-*.md"))
TOPS = ("ernie_tiny", "tests", "configs", "docs", "tools")
QUOTED = re.compile(r"```python\n(.*?)```", re.DOTALL)
FILES = [path for top in ("ernie_tiny", "tests") for path in (ROOT / top).rglob("*.py") if path != Path(__file__)]
SOURCES = [path.read_text(encoding="utf-8") for path in FILES]


def faults(text: str) -> list[str]:
    """What a page names or quotes that is not there."""
    paths = re.findall(rf"`((?:{'|'.join(TOPS)})/[\w./-]*)`", text)
    links = [f"docs/{link}" for link in re.findall(r"\]\(([\w./-]+)\)", text)]
    tests = re.findall(r"`(test_\w+)`", text)
    lines = [line for block in QUOTED.findall(text) for line in block.splitlines() if line.strip()]
    return [
        *(path for path in [*paths, *links] if not (ROOT / path).exists()),
        *(test for test in tests if not any(f"def {test}(" in source for source in SOURCES)),
        *(line for line in lines if not any(line.strip() in source for source in SOURCES)),
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_and_quotes_is_there(page: Path) -> None:
    assert not faults(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "text",
    ["`ernie_tiny/kinds/none.py`", "[a](none.md)", "`test_nothing_of_that_name`", "```python\nx = none_such\n```"],
)
def test_what_is_not_there_is_found(text: str) -> None:
    assert len(faults(text)) == 1


def test_every_page_is_linked_where_pages_are_listed() -> None:
    for name in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert [page.name for page in PAGES if f"docs/{page.name}" not in text] == []
