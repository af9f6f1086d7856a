"""The whole path at a tiny size, through the tools, as a user would run it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Callable

import pytest
from visualdl import LogReader

from tests.end_to_end.tiny import METHODS, Runs, tool

MITKD = METHODS["mitkd"]


@pytest.fixture(scope="module")
def run(runs: Callable[[str], Runs]) -> Path:
    return runs("mitkd").whole


def test_a_run_leaves_config_environment_results_report_and_export(run: Path) -> None:
    for name in ("config.yaml", "environment.json", "results.json", "report.html", "events.jsonl"):
        assert (run / name).stat().st_size > 0
    for task in ("tnews", "ocnli"):
        for name in ("model.json", "model.pdiparams", "vocab.txt", "task.json"):
            assert (run / "export" / task / name).stat().st_size > 0
        assert "student@finetune (this model)" in (run / "export" / task / "README.md").read_text(encoding="utf-8")
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    assert [model["role"] for model in results["models"]] == ["teacher", "student", "baseline"]
    assert set(results["gain"]) == {"tnews", "ocnli", "average"}
    assert results["exports"]["tnews"]["inference"] <= 1e-4


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
                                                 for task in ("tnews", "ocnli"))}  # fmt: skip
    assert shown == stages | {"results", "models/teacher", "models/student", "models/baseline"}
    assert {"scalar", "hyper_parameters", "text"} <= reader.components()


def test_the_same_command_again_says_that_all_is_done(run: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*.safetensors")}
    done = tool("train", *MITKD.arguments(run))
    assert "are done" in done.stdout
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*.safetensors")}


def test_another_config_in_the_same_folder_is_refused(run: Path) -> None:
    done = tool("train", *MITKD.arguments(run, "stages.distil.optim.learning_rate=0.5"), check=False)
    assert done.returncode == 2
    assert "stages.distil.optim.learning_rate" in done.stderr


def test_the_exported_student_answers_as_evaluate_does(run: Path, tmp_path: Path) -> None:
    printed = tool(
        "evaluate", "--run", str(run), "--models", "student@finetune", "--examples", "60", "--output", str(tmp_path)
    ).stdout
    assert "tnews" in printed and "accuracy" in printed
    for task in ("tnews", "ocnli"):
        expected = [json.loads(line) for line in (tmp_path / f"student@finetune/{task}.jsonl").open(encoding="utf-8")]
        dev = run.parent / f"data/clue/{task}_public/dev.json"
        lines = [line for line in dev.open(encoding="utf-8") if '"label": "-"' not in line][:60]
        done = tool("infer", "--model", str(run / "export" / task), input="".join(lines))
        found = [json.loads(line) for line in done.stdout.splitlines()]
        assert [item["answer"] for item in found] == [item["answer"] for item in expected]
        assert len(found) == 60
