"""The whole path at a tiny size, through the tools, as a user would run it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parents[2]
TINY = [
    "runtime.threads=1",
    "runtime.save_steps=2",
    "tokenizer.vocab_size=900",
    "models.teacher.num_hidden_layers=2",
    "models.teacher.hidden_size=48",
    "models.student.hidden_size=24",
    "stages.pretrain.optim={max_steps: 4, batch_size: 4}",
    "stages.enhance.optim={max_steps: 12, max_tokens: 1024}",
    "stages.enhance.data.examples=24",
    "stages.distil.optim={max_steps: 6, batch_size: 4}",
    "stages.finetune.optim={epochs: 1, batch_size: 8}",
    "stages.finetune.data.examples=48",
    "stages.finetune.select={every: 3, examples: 32}",
    "stages.scratch.optim={epochs: 1, batch_size: 8}",
    "stages.scratch.data.examples=48",
    "report.examples=40",
]


def tool(name: str, *arguments: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess:
    command = [sys.executable, f"tools/{name}.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, **options)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)} left with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done


def train(folder: Path, *overrides: str) -> list[str]:
    """Arguments of tools/train.py for the tiny run in a folder."""
    places = [f"output_dir={folder}", f"data.root={folder.parent / 'data'}"]
    return ["-c", "configs/quickstart.yaml", "-o", *TINY, *places, *overrides]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mitkd") / "run"
    tool("train", *train(folder))
    return folder


def weights(folder: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for file in sorted(folder.glob("stages/**/model/*.safetensors")):
        found.update({f"{file.relative_to(folder)}:{k}": v for k, v in load_file(file).items()})
    return found


def test_a_run_leaves_config_environment_results_report_and_export(run: Path) -> None:
    for name in ("config.yaml", "environment.json", "results.json", "report.html", "events.jsonl"):
        assert (run / name).stat().st_size > 0
    for task in ("tnews", "ocnli"):
        for name in ("model.json", "model.pdiparams", "vocab.txt", "task.json"):
            assert (run / "export" / task / name).stat().st_size > 0
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


def test_the_same_command_again_says_that_all_is_done(run: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*.safetensors")}
    done = tool("train", *train(run))
    assert "are done" in done.stdout
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*.safetensors")}


def test_another_config_in_the_same_folder_is_refused(run: Path) -> None:
    done = tool("train", *train(run, "stages.distil.optim.learning_rate=0.5"), check=False)
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


def test_a_killed_run_ends_at_the_weights_of_the_undisturbed_one(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    os.symlink(run.parent / "data", tmp_path / "data")
    command = [sys.executable, "tools/train.py", *train(folder)]
    for stage in ("pretrain", "distil"):
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.time() + 120
        while not list(folder.glob(f"stages/{stage}/checkpoint-*")) and process.poll() is None:
            assert time.time() < deadline, f"no checkpoint of {stage}"
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    tool("train", *train(folder))
    expected, found = weights(run), weights(folder)
    assert expected.keys() == found.keys()
    different = [name for name in expected if not np.array_equal(expected[name], found[name])]
    assert not different
