"""The whole path of each method at a tiny size, through the tools, as a user would run it: what a run leaves, and that
nothing is lost: the same command ends at the same bytes, however often and in whatever way it was stopped before.

ERNIE_TINY_KILLS=20 kills each run twenty times instead of three; ERNIE_TINY_KILLS_SEED draws other moments. All in one
file, so that one process makes the runs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import pytest
from visualdl import LogReader

from tests.end_to_end.conftest import KILLS
from tests.end_to_end.tiny import METHODS, TROUBLES, Runs, assert_equal
from tests.tools import tool

MakeRuns = Callable[[str], Runs]
MITKD = METHODS["mitkd"]
TASKS = ("tnews", "ocnli", "cluener")


@pytest.fixture(scope="module")
def run(runs: MakeRuns) -> Path:
    return runs("mitkd").whole


def test_a_run_leaves_config_environment_results_report_and_export(run: Path) -> None:
    for name in ("config.yaml", "environment.json", "results.json", "report.html", "events.jsonl"):
        assert (run / name).stat().st_size > 0
    for task in TASKS:
        for name in ("model.json", "model.pdiparams", "vocab.txt", "task.json"):
            assert (run / "export" / task / name).stat().st_size > 0
        assert "student@finetune (this model)" in (run / "export" / task / "README.md").read_text(encoding="utf-8")
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    assert [model["role"] for model in results["models"]] == ["teacher", "student", "baseline"]
    assert set(results["gain"]) == {*TASKS, "average"}
    assert results["exports"]["tnews"]["inference"] <= 1e-4


def test_the_report_has_entities_by_type_and_counts_what_is_broken(run: Path) -> None:
    models = json.loads((run / "results.json").read_text(encoding="utf-8"))["models"]
    for model in models:
        assert list(model["types"]) == ["cluener"]
        found = (run / "predictions" / model["role"] / "cluener.jsonl").read_text(encoding="utf-8").splitlines()
        assert model["types"]["cluener"]["broken"] == sum(json.loads(line).get("broken", 0) for line in found)
    assert "Named entities by type" in (run / "report.html").read_text(encoding="utf-8")


def test_events_hold_every_term_raw_and_weighted_and_the_speed(run: Path) -> None:
    events = [json.loads(line) for line in (run / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    by_stage = {event["stage"]: event for event in events if event["event"] == "log"}
    assert {"raw/mlm", "weighted/mlm"} <= set(by_stage["pretrain"])
    assert {"raw/relation", "weighted/relation", "tokens_per_second", "teacher_tokens_per_second"} <= set(
        by_stage["distil"]
    )
    assert "raw/hard" in by_stage["finetune/tnews"]


def test_visualdl_shows_every_stage_and_the_models(run: Path) -> None:
    reader = LogReader(logdir=str(run))
    shown = {str(Path(folder).relative_to(run / "visualdl")) for folder in reader.runs()}
    stages = {"pretrain", "enhance", "distil", *(f"{stage}/{task}" for stage in ("finetune", "scratch")
                                                 for task in TASKS)}  # fmt: skip
    assert shown == stages | {"results", "models/teacher", "models/student", "models/baseline"}
    assert {"scalar", "hyper_parameters", "text"} <= reader.components()


def test_the_same_command_again_says_that_all_is_done(run: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*.safetensors")}
    done = tool("train", *MITKD.arguments(run))
    assert "are done" in done.stdout
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*.safetensors")}


def test_another_config_in_the_same_folder_is_refused(run: Path) -> None:
    done = tool("train", *MITKD.arguments(run, "stages.distil.optim.learning_rate=0.5"), code=2)
    assert "stages.distil.optim.learning_rate" in done.stderr


def apart(row: dict[str, Any]) -> tuple[Any, list[float]]:
    """What a row answers, and the scores of its entities, which two engines give but for rounding."""
    if isinstance(row["answer"], str):
        return row["answer"], []
    places = [{key: value for key, value in entity.items() if key != "score"} for entity in row["answer"]]
    return places, [entity["score"] for entity in row["answer"]]


def test_the_exported_student_answers_as_evaluate_does(run: Path, tmp_path: Path) -> None:
    printed = tool("evaluate", "--run", str(run), "--models", "student@finetune", "--output", str(tmp_path)).stdout
    assert "tnews" in printed and "accuracy" in printed
    for task in TASKS:
        expected = [json.loads(line) for line in (tmp_path / f"student@finetune/{task}.jsonl").open(encoding="utf-8")]
        dev = run.parent / f"data/clue/{task}_public/dev.json"
        lines = list(dev.open(encoding="utf-8"))
        done = tool("infer", "--model", str(run / "export" / task), input="".join(lines))
        found = [json.loads(line) for line in done.stdout.splitlines()]
        (answers, scores), (wanted, theirs) = zip(*map(apart, found)), zip(*map(apart, expected))
        assert answers == wanted and sum(scores, []) == pytest.approx(sum(theirs, []), abs=1e-5)
        assert len(found) == len(expected) == len(lines)


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_run_ends_at_the_bytes_of_the_undisturbed_one(method: str, runs: MakeRuns) -> None:
    found = runs(method)
    assert len(found.moments) == KILLS
    assert_equal(found.whole, found.killed)


@pytest.mark.parametrize("method", TROUBLES)
def test_what_stops_a_run_is_said_and_the_same_command_goes_on(method: str, runs: MakeRuns) -> None:
    found = runs(method)
    assert found.codes == [*(trouble.code for trouble in TROUBLES[method]), 0]
    for trouble, said in zip(TROUBLES[method], found.said):
        assert [part for part in trouble.said if part not in said] == [], said
        assert "Traceback" not in said
    assert_equal(found.whole, found.troubled)
    assert list(found.troubled.rglob("*.partial")) == []
