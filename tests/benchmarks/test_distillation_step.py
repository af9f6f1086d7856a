"""A step of distillation is timed with both forms of its loss."""

from __future__ import annotations

import subprocess
import sys

from tests.tools import ROOT


def test_both_forms_are_timed() -> None:
    command = [sys.executable, "benchmarks/speed/distillation_step.py", "--steps", "1", "--threads", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "step with log_softmax / step with relation_kl" in done.stdout
