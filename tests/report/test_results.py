"""results.json's numbers, computed by hand."""

from __future__ import annotations

import json
import math

import pytest
from pydantic import ValidationError

from ernie_tiny.report.results import ModelResult, Results, compare, fold_draws, from_record, mean, to_record
from ernie_tiny.report.runs import Run, to_entries
from ernie_tiny.report.summary import notes_of, scores_table
from tests.report.made_results import make


def row(role: str, **main: float) -> ModelResult:
    return ModelResult(role, f"{role}@stage", 100, 40, main=main)


def summary(*models: ModelResult) -> Results:
    metrics = dict.fromkeys(models[0].main, "accuracy")
    return compare(Results("run", list(models), {}, metrics, {}, {}, {}, []))


def test_quality_kept_gain_and_averages_by_hand() -> None:
    results = summary(row("teacher", a=80.0, b=40.0), row("student", a=60.0, b=38.0), row("baseline", a=50.0, b=40.0))
    assert [model.average for model in results.models] == [60.0, 49.0, 45.0]
    # 60 / 80, 38 / 40 and 49 / 60: the average is a ratio of averages, not an average of ratios
    assert results.quality_kept == pytest.approx({"a": 75.0, "b": 95.0, "average": 100 * 49 / 60})
    assert results.gain == pytest.approx({"a": 10.0, "b": -2.0, "average": 4.0})


def test_what_was_not_compared_is_left_out() -> None:
    assert {"quality_kept", "gain"}.isdisjoint(to_record(summary(row("student", a=1.0))))
    assert "gain" not in to_record(summary(row("student", a=1.0), row("teacher", a=2.0)))
    assert {"quality_kept", "gain"}.isdisjoint(to_record(summary(row("teacher", a=1.0), row("baseline", a=1.0))))
    assert math.isnan(mean({}))


def test_a_gain_over_nothing_is_a_gain() -> None:
    results = summary(row("student", a=3.0, b=4.0), row("baseline", a=0.0, b=1.0))
    assert results.gain == pytest.approx({"a": 3.0, "b": 3.0, "average": 3.0})


def test_a_teacher_that_knows_nothing_ends_no_run() -> None:
    results = summary(row("student", a=3.0), row("teacher", a=0.0))
    assert "a" not in results.quality_kept


def test_the_draws_of_a_task_count_as_one_task() -> None:
    results = summary(row("student", **{"a": 80.0, "few-0": 40.0, "few-1": 50.0, "few-2": 60.0}))
    assert results.models[0].average == pytest.approx((80.0 + 50.0) / 2)
    assert "Mean ± standard deviation over draws of the training data: few 3. An average counts" in " ".join(
        notes_of(fold_draws(results))
    )
    table = scores_table(to_entries([Run(results)]))
    assert table.header[1:4] == ["a\naccuracy", "few\naccuracy", "average"]
    assert table.groups[0][-1][1:4] == ["80.00", "50.00 ± 10.00", "65.00"]


def test_a_task_beside_its_draws_keeps_a_column_of_its_own() -> None:
    results = summary(row("student", **{"few": 90.0, "few-0": 40.0, "few-1": 60.0}))
    assert results.models[0].average == pytest.approx((90.0 + 50.0) / 2)
    folded = fold_draws(results)
    assert folded.models[0].main == {"few": 90.0, "few (draws)": 50.0} and folded.draws == {"few (draws)": 2}
    assert folded.models[0].average == results.models[0].average
    assert folded.metrics == {"few": "accuracy", "few (draws)": "accuracy"}


def test_draws_have_one_name_on_a_page_where_another_run_has_their_union() -> None:
    union, draws = summary(row("student", few=90.0)), summary(row("student", **{"few-0": 40.0, "few-1": 60.0}))
    table = scores_table(to_entries([Run(union), Run(draws)]))
    assert table.header[1:] == ["few\naccuracy", "few (draws)\naccuracy", "average"]
    assert [cells[1:3] for cells in table.groups[0]] == [["90.00", "-"], ["-", "50.00 ± 14.14"]]


def test_draws_of_several_seeds_are_folded_before_the_mean_over_the_seeds() -> None:
    runs = [
        Run(summary(row("student", **{"few-0": low, "few-1": low + 20.0})), config={"seed": seed})
        for seed, low in enumerate((40.0, 50.0))
    ]
    (entry,) = to_entries(runs)
    (model,) = entry.results.models
    assert model.main == {"few": 55.0}
    assert model.deviation["few"] == pytest.approx(50**0.5)  # of 50 and 60
    assert fold_draws(summary(row("student", **{"few-0": 1.0}))).metrics == {"few-0": "accuracy"}  # one draw alone


def test_a_record_is_read_as_it_was_written_and_so_is_one_of_an_earlier_version() -> None:
    results = make()
    record = json.loads(json.dumps(to_record(results)))
    assert from_record(record) == results and record["models"][1]["average"] == 65.0
    assert {"deviation", "draws"}.isdisjoint(record) and "deviation" not in record["models"][0]
    for model in record["models"]:
        del model["intervals"]
    for stage in record["stages"]:
        del stage["flops"], stage["held_out"]
    assert from_record({**record, "checksum": "0"}) == results
    del record["models"][2]["role"]
    with pytest.raises(ValidationError, match="models.2.role"):
        from_record(record)
