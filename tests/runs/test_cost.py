"""The cost model's arithmetic by hand, and its measuring with a clock that goes on by a second at each look."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from ernie_tiny.config.load import load_config
from ernie_tiny.runs.calibration import measure_cost
from ernie_tiny.runs.cost import Cost, Measured, StageCost, Work, cost_lines, mean_seconds, stage_cost, strata
from ernie_tiny.runs.sampled import SampledWorkspace
from tests.runs.test_plan import CONFIG

LARGER = ("stages.distil.optim.batch_size=16", "stages.distil.optim.accumulate=3")  # than in the plan's test
# A look at the clock takes a second. Of a step it is looked at before, around forward and backward, and after: 1 s for
# them and 2 s for the rest. Around the drawing of batches: 1 s for 12 of general text, for 240 of a task.
TEXT_BATCH, TASK_BATCH, UPDATE = 1 + 1 / 12, 1 + 1 / 240, 2


def load(folder: Path, *overrides: str):
    folder.joinpath("run.yaml").write_text(CONFIG, encoding="utf-8")
    for split, rows in (("train", 10), ("dev", 4)):
        lines = (json.dumps({"text": "好" * (1 + number % 2), "label": "ab"[number % 2]}) for number in range(rows))
        folder.joinpath(f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    folder.joinpath("text.txt").write_text("天地玄黄宇宙洪荒日月盈昃\n" * 60, encoding="utf-8")
    settings = [f"data.root={folder}", f"output_dir={folder / 'run'}", "runtime.save_steps=0", *LARGER, *overrides]
    return load_config(str(folder / "run.yaml"), settings)


def seconds_of(folder: Path, *overrides: str, budget: float = 1.0e6) -> Cost:
    ticks = itertools.count()
    return measure_cost(load(folder, *overrides), budget, lambda: float(next(ticks)))


def test_a_stage_takes_what_its_parts_take_as_often_as_they_come():
    measured = Measured(
        prepare=36, batch=2, update=1, cache=3, evaluation=72, save=18, tokens=100, spread=0.1
    )  # fmt: skip
    found = stage_cost("distil", Work(steps=720, accumulate=4, cached=120, evaluations=5, saves=2), measured)
    assert (found.prepare, found.cache, found.train, found.evaluate, found.save) == (0.01, 0.1, 1.8, 0.1, 0.01)
    assert found.hours == pytest.approx(2.02)
    assert found.tokens == 288_000


def test_a_run_takes_its_stages_what_comes_before_and_the_scores_and_is_as_sure_as_its_long_stages():
    rows = [
        StageCost("long", 10, 100, 0, 0, 3, 0, 0, 0.1),
        StageCost("short", 10, 100, 0, 0, 1, 0, 0, 0.02),
        StageCost("once", 1, 10, 0, 0, 5, 0, 0, None),
    ]
    cost = Cost(tuple(rows), 0.5, 0.25, "a processor", 60)
    assert cost.hours == 9.75
    assert cost.uncertainty == pytest.approx((3 * 0.1 + 1 * 0.02) / 4)
    text = "\n".join(cost_lines(cost))
    assert "60 seconds of measuring on a processor" in text
    assert "in total   9.75 h" in text and "± 8 %" in text
    assert text.count("timed once") == 1


def test_the_middle_batch_of_each_third_stands_for_it():
    assert strata([70, 10, 30, 20, 50, 60], 3) == [(3, 15.0), (4, 40.0), (0, 65.0)]
    assert strata([5, 3], 3) == [(1, 3.0), (0, 5.0)]


def test_a_batch_takes_more_the_more_tokens_it_stands_for():
    assert mean_seconds([1.0, 4.0], [10, 20], [15.0, 40.0]) == (1.5 + 8.0) / 2


def test_steps_are_timed_and_put_together(tmp_path):
    distil, finetune = seconds_of(tmp_path).stages
    assert distil.train * 3600 == pytest.approx(10 * (3 * TEXT_BATCH + UPDATE))
    assert distil.tokens == 10 * 3 * 16 * 8
    assert finetune.steps == 6  # 10 examples in batches of 4 are 3, twice
    # Batches of 4, 3 and 3; two lengths, so that what a third stands for is a little more or less than what was timed.
    assert finetune.train * 3600 == pytest.approx(6 * (TASK_BATCH + UPDATE), rel=0.05)
    assert distil.spread == 0
    assert not (tmp_path / "run").exists()


def test_what_is_too_slow_is_timed_in_smaller_batches(tmp_path):
    """An eighth of 16 sequences took a second, so that a whole batch takes eight; and once is enough."""
    distil = seconds_of(tmp_path, budget=0.0).stages[0]
    assert distil.train * 3600 == pytest.approx(10 * (3 * (8 + 1 / 12) + UPDATE))
    assert distil.spread is None


def test_a_cache_is_written_once_for_each_batch(tmp_path):
    cost = seconds_of(tmp_path, "stages.distil.cache={precision: float16}")
    assert cost.stages[0].cache * 3600 == pytest.approx(10 * 3)
    assert cost.stages[1].cache == 0


def test_evaluations_take_a_share_for_each_dev_example(tmp_path):
    """4 examples are scored in a second; after 2, 4 and 6 steps."""
    cost = seconds_of(tmp_path, "stages.finetune.select.every=2")
    assert cost.stages[1].evaluate * 3600 == pytest.approx(3)


def test_of_many_examples_a_sample_is_read_and_all_are_counted(tmp_path):
    workspace = SampledWorkspace(load(tmp_path), 4)
    assert len(workspace.examples("mine", "train", None)) == 4
    assert workspace.share("mine", "train", None) == 2.5
