"""A run folder belongs to one config."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ernie_tiny.config.load import load_config
from ernie_tiny.errors import InputError
from ernie_tiny.training import pipeline
from ernie_tiny.training.pipeline import record_run, run_pipeline

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def load(folder: Path, *overrides: str):
    return load_config(CONFIGS / "quickstart.yaml", [f"output_dir={folder}", f"data.root={folder}/data", *overrides])


def test_config_and_environment_are_there_before_anything_can_fail(tmp_path: Path) -> None:
    run = load(tmp_path / "run", "data.sample=false", "seed=7")
    with pytest.raises(InputError, match=r"data\.root"):
        run_pipeline(run)
    assert load_config(tmp_path / "run" / "config.yaml") == run
    environment = json.loads((tmp_path / "run" / "environment.json").read_text(encoding="utf-8"))
    assert environment["seed"] == 7
    assert set(environment) == {"versions", "git_revision", "seed"}


def test_runtime_may_change_and_is_recorded(tmp_path: Path) -> None:
    record_run(load(tmp_path), tmp_path)
    changed = load(tmp_path, "runtime.threads=1", "runtime.save_steps=3")
    record_run(changed, tmp_path)
    assert load_config(tmp_path / "config.yaml").runtime == changed.runtime


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("seed=7", "seed"),
        ("models.student.hidden_size=48", "models.student.hidden_size"),
        ("stages.distil.optim.learning_rate=0.1", "stages.distil.optim.learning_rate"),
        ("stages.finetune.data.tasks=[tnews]", "stages.finetune.data.tasks"),
    ],
)
def test_any_other_change_is_refused_by_its_key(override: str, key: str, tmp_path: Path) -> None:
    record_run(load(tmp_path), tmp_path)
    before = (tmp_path / "config.yaml").read_bytes()
    with pytest.raises(InputError) as error:
        record_run(load(tmp_path, override), tmp_path)
    assert f"different: {key}. Give" in str(error.value)
    assert (tmp_path / "config.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("old", "new", "keys"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1, "b": {"c": 2}}, {"a": 2, "b": {"c": 3}}, ["a", "b.c"]),
        ({"a": 1}, {"b": 1}, ["a", "b"]),
        ({"a": {"b": 1}}, {"a": None}, ["a"]),
        ({"s": [{"name": "x", "v": 1}, {"name": "y", "v": 1}]}, {"s": [{"name": "x", "v": 1}, {"name": "y", "v": 2}]},
         ["s.y.v"]),
        ({"s": [1, 2]}, {"s": [1, 3]}, ["s.1"]),
        ({"s": [1, 2]}, {"s": [1]}, ["s"]),
    ],
)
def test_differences(old: dict, new: dict, keys: list[str]) -> None:
    assert pipeline._differences(old, new) == keys
