"""A test file's CONFIG as a file, and what is said of it where it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from ernie_tiny.config import load_config
from ernie_tiny.errors import InputError


@pytest.fixture
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    file = tmp_path / "run.yaml"
    file.write_text(request.module.CONFIG, encoding="utf-8")
    return file


def refused(path: Path, *overrides: str) -> str:
    with pytest.raises(InputError) as caught:
        load_config(path, overrides)
    return str(caught.value)
