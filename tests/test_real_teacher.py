"""The study in benchmarks/quality/real_teacher: its configs are valid, its queue goes on, its claims right by hand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.quality.real_teacher import run as study
from benchmarks.quality.real_teacher.parts import RATES, TEACHERS, grid, queue
from ernie_tiny.config import load_config, to_yaml
from ernie_tiny.files import to_json
from ernie_tiny.report.results import ModelResult, Results, to_record
from ernie_tiny.training.tasks import run_tasks

RUN = Path(study.__file__)
# Stands for tools/train.py: notes the call, and ends as a file in the run's folder says.
TRAINER = """
import json, pathlib, sys, time
given = dict(item.split("=", 1) for item in sys.argv[4:])
folder = pathlib.Path(json.loads(given["output_dir"]))
root = pathlib.Path(json.loads(given["data.root"]))
with (root / "calls").open("a") as calls:
    calls.write(folder.relative_to(root / "out").as_posix() + "\\n")
if (root / "wait").exists():
    time.sleep(60)
if (root / ("fail " + folder.name)).exists():
    sys.exit(2)
folder.mkdir(parents=True, exist_ok=True)
(folder / "results.json").write_text((root / "results.json").read_text())
"""


def results_of(score: float) -> str:
    model = ModelResult("teacher", "teacher@rate", 10, 5, main={"tnews": score})
    return to_json(to_record(Results("made", [model], {}, {}, {}, {}, {}, [])))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root beside which a trainer stands that trains nothing."""
    (tmp_path / "trainer.py").write_text(TRAINER)
    (tmp_path / "results.json").write_text(results_of(50.0))
    monkeypatch.setattr(study, "TRAIN", tmp_path / "trainer.py")
    return tmp_path


def arguments(root: Path) -> list[str]:
    return ["--data", str(root), "--teacher", "a-teacher", "--output", str(root / "out")]


def calls(root: Path) -> list[str]:
    return (root / "calls").read_text().splitlines()


def test_the_configs_go_on_from_each_other(tmp_path: Path) -> None:
    for rate in RATES:
        folder = tmp_path / "grid" / rate
        folder.mkdir(parents=True)
        (folder / "results.json").write_text(results_of(50.0))
    args = study.parse_args(["--data", "no-data", "--teacher", "a-teacher", "--output", str(tmp_path)])
    for part in queue():
        run = load_config(part.file, study.overrides(args, part))
        run_tasks(run)
        folder = tmp_path / part.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(to_yaml(run), encoding="utf-8")


def test_what_is_finished_is_not_run_again(root: Path) -> None:
    assert study.main(arguments(root)) == 0
    assert calls(root) == [part.name for part in queue()]
    (root / "out" / queue()[-1].name / "results.json").unlink()
    assert study.main(arguments(root)) == 0
    assert calls(root)[len(queue()) :] == [queue()[-1].name]


def test_nothing_that_needs_a_failed_run_is_begun(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / f"fail {TEACHERS}").touch()
    assert study.main(arguments(root)) == 1
    assert f"{TEACHERS} failed" in capsys.readouterr().err
    bases = {part.name: part.base for part in queue()}
    begun = calls(root)
    assert TEACHERS in begun and all(bases[name] is None for name in begun)


def test_the_rate_with_the_best_score_is_the_teachers(tmp_path: Path) -> None:
    for part, score in zip(grid(), (50.0, 56.0, 56.0)):
        (tmp_path / part.name).mkdir(parents=True)
        (tmp_path / part.name / "results.json").write_text(results_of(score))
    assert study.best_rate(tmp_path) == "1.0e-4"
    args = study.parse_args(["--data", "d", "--teacher", "t", "--output", str(tmp_path)])
    teachers = next(part for part in queue() if part.name == TEACHERS)
    assert "stages.enhance.optim.learning_rate=1.0e-4" in study.overrides(args, teachers)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_queue_and_its_run(root: Path, number: signal.Signals) -> None:
    (root / "wait").touch()
    program = f"""
import sys
from pathlib import Path
from benchmarks.quality.real_teacher import run
run.TRAIN = Path({str(root / "trainer.py")!r})
sys.exit(run.main(sys.argv[1:]))
"""
    environment = {**os.environ, "PYTHONPATH": str(RUN.parents[3])}
    command: list[Any] = [sys.executable, "-c", program, *arguments(root)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as queue_process:
        deadline = time.monotonic() + 60
        while not (root / "calls").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        queue_process.send_signal(number)
        assert queue_process.wait(30) == 128 + number
    assert len(calls(root)) == 1
    assert study.state(root / "out" / calls(root)[0]) == "begun"


def test_a_shortened_run_has_a_share_of_every_stage(tmp_path: Path) -> None:
    args = study.parse_args(["--data", "d", "--teacher", "t", "--output", str(tmp_path), "--part", "0.01"])
    run = load_config(grid()[0].file, study.overrides(args, grid()[0]))
    assert run.stage("rate").optim.epochs == pytest.approx(0.02)
    assert run.report.examples == study.SMOKE_EXAMPLES
