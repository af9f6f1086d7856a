"""results.json's numbers, computed by hand."""

from __future__ import annotations

import math

import pytest

from ernie_tiny.report.results import ModelResult, fold_draws, mean, summarise
from ernie_tiny.report.runs import Run, to_entries
from ernie_tiny.report.summary import notes_of, results_table


def row(role: str, **main: float) -> ModelResult:
    return ModelResult(role, f"{role}@stage", 100, 40, main=main)


def summary(*models: ModelResult) -> dict:
    metrics = dict.fromkeys(models[0].main, "accuracy")
    return summarise("run", list(models), {}, metrics, {}, {}, {}, [])


def test_quality_kept_gain_and_averages_by_hand() -> None:
    results = summary(row("teacher", a=80.0, b=40.0), row("student", a=60.0, b=38.0), row("baseline", a=50.0, b=40.0))
    assert [model["average"] for model in results["models"]] == [60.0, 49.0, 45.0]
    # 60 / 80, 38 / 40 and 49 / 60: the average is a ratio of averages, not an average of ratios
    assert results["quality_kept"] == pytest.approx({"a": 75.0, "b": 95.0, "average": 100 * 49 / 60})
    assert results["gain"] == pytest.approx({"a": 10.0, "b": -2.0, "average": 4.0})


def test_what_was_not_compared_is_left_out() -> None:
    assert {"quality_kept", "gain"}.isdisjoint(summary(row("student", a=1.0)))
    assert "gain" not in summary(row("student", a=1.0), row("teacher", a=2.0))
    assert {"quality_kept", "gain"}.isdisjoint(summary(row("teacher", a=1.0), row("baseline", a=1.0)))
    assert math.isnan(mean({}))


def test_a_gain_over_nothing_is_a_gain() -> None:
    results = summary(row("student", a=3.0, b=4.0), row("baseline", a=0.0, b=1.0))
    assert results["gain"] == pytest.approx({"a": 3.0, "b": 3.0, "average": 3.0})


def test_a_teacher_that_knows_nothing_ends_no_run() -> None:
    results = summary(row("student", a=3.0), row("teacher", a=0.0))
    assert "a" not in results["quality_kept"]


def test_the_draws_of_a_task_count_as_one_task() -> None:
    results = summary(row("student", **{"a": 80.0, "few-0": 40.0, "few-1": 50.0, "few-2": 60.0}))
    assert results["models"][0]["average"] == pytest.approx((80.0 + 50.0) / 2)
    assert "Mean ± standard deviation over draws of the training data: few 3. An average counts" in " ".join(
        notes_of(fold_draws(results))
    )
    header, models, _ = results_table(to_entries([Run(results)]))
    assert header[1:4] == ["a\naccuracy", "few\naccuracy", "average"]
    assert models[-1][1:4] == ["80.00", "50.00 ± 10.00", "65.00"]


def test_draws_of_several_seeds_are_folded_before_the_mean_over_the_seeds() -> None:
    runs = [
        Run(summary(row("student", **{"few-0": low, "few-1": low + 20.0})), config={"seed": seed})
        for seed, low in enumerate((40.0, 50.0))
    ]
    (entry,) = to_entries(runs)
    (model,) = entry.results["models"]
    assert model["main"] == {"few": 55.0}
    assert model["deviation"]["few"] == pytest.approx(50**0.5)  # of 50 and 60
    assert fold_draws(summary(row("student", **{"few-0": 1.0})))["metrics"] == {"few-0": "accuracy"}  # one draw alone
