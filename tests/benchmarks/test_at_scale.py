"""The arithmetic of docs/distributed.md: its tables are what the script prints, and its sums are right."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.speed import at_scale

PAGE = Path(__file__).resolve().parents[2] / "docs/distributed.md"


def test_the_page_shows_what_the_script_prints(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["at_scale.py"])
    at_scale.main()
    tables = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    page = PAGE.read_text(encoding="utf-8").splitlines()
    assert len(tables) == 10 and [line for line in tables if line not in page] == []


def test_each_of_eight_sends_seven_eighths_twice() -> None:
    assert at_scale.ring(1000, 8) == 2 * 4 * 875
    assert at_scale.ring(1000, 1) == 0


def test_the_hours_are_the_operations_over_what_all_devices_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["at_scale.py", "--devices", "4", "--inputs", "8", "--bandwidth", "1e12"])
    args = at_scale.parse_args()
    tokens, seconds = 3.6e9, 1e-5  # 36,000 device-seconds of four devices
    row = at_scale.distilling(args, tokens, seconds).groups[0][0]
    assert row[:3] == ["4", "8 x 128", f"{tokens / 1024:,.0f}"]
    assert row[6] == "2.5"
