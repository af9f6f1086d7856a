"""The study in benchmarks/quality/real_teacher: its claims and its page, from numbers made by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.quality.real_teacher.arms import ARMS, GROUPS, common_seeds
from benchmarks.quality.real_teacher.claims import DOES_NOT, HOLDS, NOT_RUN, claims, tasks_of
from benchmarks.quality.real_teacher.gather import gather, joined
from benchmarks.quality.real_teacher.intervals import packed, unpacked
from benchmarks.quality.real_teacher.page import draw, page
from benchmarks.quality.real_teacher.parts import SEEDS
from ernie_tiny.config import RunConfig, to_yaml
from ernie_tiny.files import to_json
from ernie_tiny.kinds.read import read_split
from ernie_tiny.report.results import ModelResult, Results, StageResult, to_record
from ernie_tiny.training.tasks import task_specs
from tests.benchmarks.test_real_teacher import write_results


def made_arm(*scores: Mapping[str, float], layers: int = 4_800_000) -> dict[str, Any]:
    """An arm with these scores by seed."""
    cost = {"hours": 1.0, "parameters": 16_000_000, "layers": layers, "megabytes": 60.0}
    cost |= {"latency": 4.0, "processor": "made"}
    return {"what": "made", "seeds": {seed: {"scores": dict(each), **cost} for seed, each in zip(SEEDS, scores)}}


def everywhere(value: float) -> dict[str, float]:
    return {task: value for group in GROUPS.values() for task in group}


def made_study(**arms: dict[str, Any]) -> dict[str, Any]:
    tasks = everywhere(0.0)
    return {
        "arms": {letter: {"what": arm.what, "seeds": {}} for letter, arm in ARMS.items()} | arms,
        "majority": dict.fromkeys(tasks, 20.0),
        "examples": dict.fromkeys(tasks, 1000),
        "intervals": {},
        "exports": [],
        "int8": {},
    }


def verdict(made: Mapping[str, Any], start: str) -> str:
    return next(claim.verdict for claim in claims(made) if claim.text.startswith(start))


def numbers(made: Mapping[str, Any], start: str) -> str:
    return next(claim.numbers for claim in claims(made) if claim.text.startswith(start))


def test_without_numbers_nothing_is_claimed() -> None:
    assert {claim.verdict for claim in claims(made_study())} == {NOT_RUN}
    assert {claim.number for claim in claims(made_study())} == {1, 2, 3, 4, 5}


def test_an_order_holds_for_every_seed_or_not_at_all() -> None:
    made = made_study(
        c=made_arm(*map(everywhere, (40.0, 41.0, 42.0))),
        d=made_arm(*map(everywhere, (41.0, 43.0, 43.0))),
        b=made_arm(*map(everywhere, (39.0, 42.0, 30.0))),
    )
    assert verdict(made, "d > c, out-of-domain") == HOLDS
    assert numbers(made, "d > c, out-of-domain") == "+1.33 ± 0.58 (+1.00, +2.00, +1.00)"
    assert verdict(made, "c > b, few labels") == DOES_NOT  # the second seed is a point below
    made["arms"]["d"] = made_arm(everywhere(41.0))
    assert verdict(made, "d > c, few labels") == f"{HOLDS} so far, 1 of 3 seeds"
    made["arms"]["d"] = made_arm(everywhere(41.0), everywhere(40.0))
    assert verdict(made, "d > c, few labels") == f"{DOES_NOT}, 2 of 3 seeds"  # whatever the third comes to


def test_draws_and_sizes_of_a_task_count_once() -> None:
    few = {task: 60.0 if task.startswith("bustm") else 30.0 for task in GROUPS["few labels"]}
    made = made_study(c=made_arm({**everywhere(30.0)}), d=made_arm({**everywhere(30.0), **few}))
    assert numbers(made, "d > c, few labels") == "+7.50 (+7.50)"  # 30 points on one of four tasks


def test_a_task_that_no_student_learns_is_left_out() -> None:
    weak = {**everywhere(40.0), "shopping_sentiment": 69.0}
    made = made_study(b=made_arm(weak), c=made_arm(weak), d=made_arm({**weak, "shopping_sentiment": 70.0}))
    made["majority"]["shopping_sentiment"] = 69.0  # two standard errors of 1,000 examples are 2.9
    assert "shopping_sentiment" not in tasks_of(made, "out-of-domain")
    made["arms"]["d"]["seeds"]["1"]["scores"]["shopping_sentiment"] = 72.0
    assert "shopping_sentiment" in tasks_of(made, "out-of-domain")


def test_the_best_student_is_held_against_the_teacher_of_the_same_rows() -> None:
    students = {
        "e": made_arm(*map(everywhere, (49.0, 49.0, 49.3))),
        "k": made_arm(*map(everywhere, (48.0, 50.0, 48.5))),
    }
    made = made_study(a=made_arm(everywhere(50.0)), **students)
    text = "the best 4L312H arm"
    assert verdict(made, text) == HOLDS and numbers(made, text).startswith("e: 98.20 ± 0.35 % of 50.00")
    made["arms"]["a"] = made_arm(everywhere(51.0))
    assert verdict(made, text) == DOES_NOT
    assert verdict(made_study(e=students["e"]), text) == NOT_RUN
    made["arms"]["k"] = made_arm(*map(everywhere, (50.1, 50.0)))  # 98.14 %, and its third seed is not run
    assert verdict(made, text) == f"{HOLDS} so far, 2 of 3 seeds"


def test_one_teacher_stands_beside_every_seed_of_a_bilstm() -> None:
    made = made_study(a=made_arm(everywhere(50.0)), j=made_arm(*map(everywhere, (49.0, 48.0, 51.0))))
    assert common_seeds(made, "a", "j") == list(SEEDS)
    assert numbers(made, "a > j, in-domain") == "+0.67 ± 1.53 (+1.00, +2.00, -1.00)"
    assert verdict(made, "a > j, in-domain") == DOES_NOT


def test_the_shown_student_is_held_against_its_teacher_and_the_published_ones() -> None:
    student = {**everywhere(50.0), "tnews": 54.6, "ocnli": 69.0}
    teacher = {**everywhere(50.0), "tnews": 55.0, "ocnli": 70.3}
    made = made_study(**{"s": made_arm(student), "s+": made_arm(teacher)})
    assert verdict(made, "the shown student keeps") == HOLDS  # 99.27 and 98.15 %
    assert verdict(made, "the shown student in INT8") == NOT_RUN
    made["int8"] = {"tnews": 53.4, "ocnli": 68.2}  # 97.09 and 97.01 %
    assert verdict(made, "the shown student in INT8") == HOLDS
    made["int8"] = {"tnews": 53.4, "ocnli": 68.1}  # 96.87 %
    assert verdict(made, "the shown student in INT8") == DOES_NOT
    assert verdict(made, "the shown student has at least 54.5 on TNEWS") == HOLDS
    assert verdict(made, "the shown student is above 68.73 on OCNLI") == HOLDS
    assert verdict(made, "the shown student's layers") == HOLDS
    made["arms"]["s"] = made_arm({**student, "ocnli": 68.7}, layers=5_100_000)
    assert verdict(made, "the shown student keeps") == DOES_NOT  # 97.7 % of OCNLI
    assert verdict(made, "the shown student is above 68.73 on OCNLI") == DOES_NOT
    assert verdict(made, "the shown student's layers") == DOES_NOT
    made["arms"]["s+"] = made_arm({**teacher, "ocnli": 70.1})  # then nothing is asked of OCNLI but the 98 %
    assert not [claim for claim in claims(made) if "68.73" in claim.text]
    assert verdict(made, "nano.yaml") == DOES_NOT
    made["exports"] = ["Paddle Inference", "Hugging Face"]
    assert verdict(made, "nano.yaml") == HOLDS


def test_the_page_and_the_picture_of_some_results_and_of_none(tmp_path: Path) -> None:
    made = made_study(c=made_arm(everywhere(40.0)), d=made_arm(everywhere(41.0), everywhere(43.0)))
    made["intervals"]["d > c, out-of-domain"] = (0.25, 1.75)
    text = page(made)
    assert "| d > c, out-of-domain | +1.00 (+1.00) | +0.25 to +1.75 | holds so far, 1 of 3 seeds |" in text
    assert "| d | made | 42.00 ± 1.41 |" in text
    assert "| e | the four stages | not yet run |" in text
    draw(made, tmp_path / "some.svg")
    assert "<svg" in (tmp_path / "some.svg").read_text(encoding="utf-8")
    assert "not yet run" in page(made_study())


def write_data(root: Path) -> None:
    """The dev sets of the out-of-domain group, labels by turns: the tenth of 400 reviews."""
    reviews = root / "shopping_10/online_shopping_10_cats.csv"
    reviews.parent.mkdir()
    lines = (f"{'书籍' if number % 2 else '酒店'},{number % 2},评价{number}\n" for number in range(400))
    reviews.write_text("cat,label,review\n" + "".join(lines), encoding="utf-8")


def write_run(folder: Path, run: RunConfig, data: Path, right: float) -> None:
    """A finished run whose student answers this part of the dev rows rightly; two stages made it, one did not."""
    model = ModelResult("student", "student@finetune", 16_000_000, 11_000_000, megabytes=60.0)
    for task in GROUPS["out-of-domain"]:
        spec = task_specs(run)[task]
        examples = read_split(spec, data, "dev").examples
        count = round(right * len(examples))
        answers = [
            {"id": example.id, "answer": spec.labels[example.label if place < count else 1 - example.label % 2]}
            for place, example in enumerate(examples)
        ]
        model.main[task] = 100 * count / len(examples)
        predictions = folder / "predictions/student" / f"{task}.jsonl"
        predictions.parent.mkdir(parents=True, exist_ok=True)
        predictions.write_text("".join(to_json(answer) + "\n" for answer in answers), encoding="utf-8")
    trained = (("enhance", None), ("distil", None), ("finetune", "tnews"), ("finetune", "shopping_category"))
    stages = [StageResult(name, task, "student", 1, 1, 3600.0, 1, None, {}) for name, task in trained]
    examples_of = {task: len(read_split(task_specs(run)[task], data, "dev").examples) for task in model.main}
    majority = dict.fromkeys(model.main, 20.0)
    write_results(folder, to_json(to_record(Results("made", [model], majority, {}, examples_of, {}, {}, stages))))
    (folder / "config.yaml").write_text(to_yaml(run), encoding="utf-8")


def test_gathering_reads_scores_costs_and_intervals_from_the_runs(
    runs: Mapping[str, RunConfig], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    write_data(tmp_path)
    for name, right in (("seed=1/mitkd", 0.9), ("seed=1/unenhanced", 0.5)):
        write_run(output / name, runs[name], tmp_path, right)
    found = gather(output, tmp_path)
    mitkd = found["arms"]["d"]["seeds"]["1"]
    assert mitkd["scores"]["shopping_category"] == pytest.approx(90.0, abs=2)
    assert mitkd["hours"] == 2.0  # distil and finetune of an in-domain task, neither teacher nor reviews
    assert mitkd["layers"] == 5_000_000
    assert not found["arms"]["e"]["seeds"] and list(found["intervals"]) == ["d > c, out-of-domain"]
    low, high = found["intervals"]["d > c, out-of-domain"]
    gain = 40.0  # every row that c knows d knows; a standard error of some 7 over two tasks of some 25 rows
    assert gain - 20 < low < gain - 5 and gain + 5 < high < gain + 20
    assert verdict(found, "d > c, out-of-domain") == f"{HOLDS} so far, 1 of 3 seeds"


def test_the_seeds_of_another_machine_stand_beside_ones_own(runs: Mapping[str, RunConfig], tmp_path: Path) -> None:
    outputs = tmp_path / "one", tmp_path / "other"
    write_data(tmp_path)
    for number, output in enumerate(outputs):
        for name, right in (("mitkd", 0.9), ("unenhanced", 0.8 - 0.1 * number)):
            part = f"seed={number + 1}/{name}"
            write_run(output / part, runs[part], tmp_path, right)
    first = gather(outputs[0], tmp_path)
    both = gather(outputs[1], tmp_path, [json.loads(json.dumps(first))])
    assert sorted(both["arms"]["d"]["seeds"]) == ["1", "2"]
    assert both["arms"]["c"]["seeds"]["1"] == first["arms"]["c"]["seeds"]["1"]
    low, high = both["intervals"]["d > c, out-of-domain"]
    assert 0 < low < 10 and 20 < high < 30  # from one seed twice to the other twice, and some points of examples
    assert verdict(both, "d > c, out-of-domain") == f"{HOLDS} so far, 2 of 3 seeds"


def test_a_task_that_was_run_again_stands_in_place_of_the_earlier_one(tmp_path: Path) -> None:
    empty = gather(tmp_path, tmp_path)
    earlier, later = json.loads(json.dumps(empty)), json.loads(json.dumps(empty))
    earlier["arms"]["d"]["seeds"]["1"] = {"scores": {"tnews": 1, "ocnli": 2}, "right": {"ocnli": "x"}, "hours": 3}
    later["arms"]["d"]["seeds"]["1"] = {"scores": {"ocnli": 4}, "right": {"ocnli": "y"}, "hours": 5}
    both = joined(earlier, later)["arms"]["d"]["seeds"]
    assert both == {"1": {"scores": {"tnews": 1, "ocnli": 4}, "right": {"ocnli": "y"}, "hours": 5}}


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_what_is_right_is_packed_and_unpacked(right: list[bool]) -> None:
    assert unpacked(packed(np.array(right)), len(right)).tolist() == right
