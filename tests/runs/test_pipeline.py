"""What a run writes before it can fail."""

from __future__ import annotations

import json
import sys
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


def test_a_run_that_a_check_has_ended_may_be_mended(tmp_path: Path) -> None:
    for overrides in (["seed=7"], ["seed=8", "models.student.max_position_embeddings=64"]):
        with pytest.raises(InputError, match=r"data\.root"):
            run_pipeline(load(tmp_path / "run", "data.sample=false", *overrides))


def test_a_folder_in_use_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with run_lock(tmp_path / "run"), pytest.raises(InputError, match="works in it"):
        run_pipeline(load(tmp_path / "run"))
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["run.lock"]


@pytest.mark.parametrize(
    ("overrides", "asked"),
    [
        (["export.engines=[paddle, onnx]"], True),
        (["export.engines=[paddle, onnx]", "export.model=null"], False),
        (["runtime.teacher_engine=onnx"], True),
        (["runtime.teacher_engine=auto"], False),
    ],
)
def test_an_engine_that_is_not_installed_is_found_before_anything_is_written(
    overrides: list[str], asked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    run = load(tmp_path / "run", "data.sample=false", *overrides)
    with pytest.raises(InputError, match="onnxruntime is not installed" if asked else r"data\.root"):
        run_pipeline(run)
    assert (tmp_path / "run").exists() != asked
