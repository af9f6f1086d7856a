"""What a run writes before it can fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ernie_tiny.config.load import load_config
from ernie_tiny.errors import InputError
from ernie_tiny.runs.lock import run_lock
from ernie_tiny.runs.pipeline import run_pipeline
from tests.runs.test_changes import load


def test_config_and_environment_are_there_before_anything_can_fail(tmp_path: Path) -> None:
    run = load(tmp_path / "run", "data.sample=false", "seed=7")
    with pytest.raises(InputError, match=r"data\.root"):
        run_pipeline(run)
    assert load_config(tmp_path / "run" / "config.yaml") == run
    environment = json.loads((tmp_path / "run" / "environment.json").read_text(encoding="utf-8"))
    assert environment["seed"] == 7
    assert set(environment) == {"versions", "git_revision", "seed", "checksum"}


def test_a_folder_in_use_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with run_lock(tmp_path / "run"), pytest.raises(InputError, match="works in it"):
        run_pipeline(load(tmp_path / "run"))
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["run.lock"]
