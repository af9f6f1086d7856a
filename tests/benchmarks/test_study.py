"""The study in benchmarks/quality/study: its configs are valid in their order, its tables right by hand."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmarks.quality.judging import averages, draws_of
from ernie_tiny.config import load_config, to_yaml
from ernie_tiny.training.tasks import task_specs

STUDY = Path(__file__).resolve().parents[2] / "benchmarks/quality/study"


@pytest.fixture(scope="module")
def study() -> ModuleType:
    spec = importlib.util.spec_from_file_location("study", STUDY / "run.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_configs_go_on_from_each_other_and_train_every_arm(study: ModuleType, tmp_path: Path) -> None:
    before: list[str] = []
    runs = {}
    for name in ("pretrain", "teachers", "students", "follow_up"):
        run = runs[name] = load_config(STUDY / f"{name}.yaml", [*before, f"output_dir={tmp_path / name}"])
        task_specs(run)
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(to_yaml(run), encoding="utf-8")
        before = [f"base_run={tmp_path / name}"]
    run = runs["students"]
    assert set(run.report.models.values()) == {reference for _, reference in study.ARMS.values()}
    stages = {stage.name: stage for stage in run.stages}
    for arm in study.EVERYWHERE:
        tasks = stages[study.ARMS[arm][1].partition("@")[2]].data.tasks
        assert {*study.OUT_OF_DOMAIN, *study.LOW_RESOURCE} <= set(tasks)
    assert set(study.FIRST) <= {f"{stage.train.partition('@')[0]}@{name}" for name, stage in stages.items()}


def task(majority: float, teacher: float, examples: int = 1000) -> dict[str, float]:
    return {"majority": majority, "examples": examples, "teacher": teacher, "scratch": majority}


def made_study() -> dict[str, Any]:
    """Two seeds of three arms: c is 1 and 3 points above b, d a point below c on the first seed and 2 above after."""
    scores = {
        "b": [{"tnews": 40.0, "shopping_10": 50.0}, {"tnews": 42.0, "shopping_10": 52.0}],
        "c": [{"tnews": 41.0, "shopping_10": 51.0}, {"tnews": 45.0, "shopping_10": 55.0}],
        "d": [{"tnews": 40.0, "shopping_10": 50.0}, {"tnews": 47.0, "shopping_10": 57.0}],
    }
    few = {f"csldcp-{draw}": 10.0 + draw for draw in range(5)}
    return {
        "tasks": {
            "tnews": task(10, 50),
            "afqmc": task(69, 70),
            "shopping_10": task(20, 80),
            **{name: task(2, 20) for name in few},
        },
        "in-domain": ["tnews"],
        "arms": {
            arm: {"what": arm, "parameters": 10**6, "latency": 2.0, "scores": [{**each, **few} for each in found]}
            for arm, found in scores.items()
        },
    }


def test_a_task_carries_a_signal_two_standard_errors_above_the_majority(study: ModuleType) -> None:
    # of 1,000 examples at a share of a half: 100 * sqrt(0.25 / 1000) = 1.58
    assert not study.carries_signal(task(50, 53.1))
    assert study.carries_signal(task(50, 53.2))


def test_draws_are_those_that_a_number_tells_apart() -> None:
    assert draws_of(["a", "a-b", "few-0", "few-1"]) == {"a": ["a"], "a-b": ["a-b"], "few": ["few-0", "few-1"]}
    assert draws_of(["few-0", "few", "few-1"]) == {"few (draws)": ["few-0", "few-1"], "few": ["few"]}


def test_tables_and_claims_by_hand(study: ModuleType) -> None:
    made = made_study()
    assert study.groups_of(made) == {
        "in-domain": ["tnews"],
        "out-of-domain": ["shopping_10"],
        "low-resource": [f"csldcp-{n}" for n in range(5)],
    }
    scores = [{"a": 1.0, "few-0": 2.0, "few-1": 4.0}]
    assert averages(scores, ["a", "few-0", "few-1"]) == [2.0]  # of 1 and 3
    assert averages(scores, ["a", "few-2"]) == []
    text = "\n".join(study.tables(made))
    assert "| afqmc | 1000 | 69.00 | 70.00 | 69.00 | no |" in text
    assert "| c > b | out-of-domain | +2.00 ± 1.41 | +1.00, +3.00 | holds |" in text
    assert "| d > c | out-of-domain | +0.50 ± 2.12 | -1.00, +2.00 | on average |" in text
    assert "| c > b | low-resource | +0.00 ± 0.00 | +0.00, +0.00 | fails |" in text


def test_the_picture_is_drawn_with_its_text_as_text_and_again_the_same(study: ModuleType, tmp_path: Path) -> None:
    first, second = tmp_path / "first.svg", tmp_path / "second.svg"
    study.draw(made_study(), first)
    study.draw(made_study(), second)
    assert ">in-domain average, %</text>" in first.read_text(encoding="utf-8")
    assert first.read_bytes() == second.read_bytes()
