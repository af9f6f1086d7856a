"""`tools/train.py --cost` prints the plan and, below it, the hours."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from ernie_tiny.cli import train
from ernie_tiny.runs import calibration
from ernie_tiny.runs.cost import Cost, StageCost

QUICKSTART = Path(__file__).resolve().parents[2] / "configs" / "quickstart.yaml"


def test_hours_stand_below_the_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = (StageCost("pretrain", 100, 7200, 0.0, 0.5, 1.5, 0.0, 0.0, 0.04),)
    monkeypatch.setattr(calibration, "measure_cost", lambda run: Cost(stages, 0.0, 0.25, "a processor", 60.0))
    monkeypatch.setattr(train, "prepare", lambda device, threads: None)
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    train.main(parser.parse_args(["-c", str(QUICKSTART), "--cost", "-o", f"output_dir={tmp_path}"]))
    plan, hours = capsys.readouterr().out.split("hours, by 60 seconds of measuring on a processor")
    assert "stages\n  pretrain: trains teacher" in plan
    assert "2.00 h: 100 steps at 1 tokens a second; training 1.50 h, teacher's cache 30.0 min" in hours
    assert "in total   2.25 h" in hours
    assert not list(tmp_path.iterdir())
