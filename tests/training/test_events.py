"""Events outlive a line that was cut off."""

from __future__ import annotations

from pathlib import Path

import pytest

from ernie_tiny.training.events import EVENTS_FILE, EventLog, read_events


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_line_that_was_cut_off_spoils_no_other(cut: int, tmp_path: Path) -> None:
    log, file = EventLog(tmp_path), tmp_path / EVENTS_FILE
    log.write("first", value=1)
    whole = file.stat().st_size
    log.write("second", text="一二三")
    with file.open("r+b") as stream:
        stream.truncate(whole + cut)
    EventLog(tmp_path).write("third", value=3)
    assert [event["event"] for event in read_events(tmp_path)] == ["first", "third"]
    assert all(line for line in file.read_bytes().splitlines())
