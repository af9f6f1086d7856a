"""What happened in a run, an event a line: events.jsonl."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from pathlib import Path
from typing import Any

from ernie_tiny.files import errors_named, finite_or_none, to_json

EVENTS_FILE = "events.jsonl"


class EventLog:
    """Appends one JSON object a line to a run's events.jsonl."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._path = folder, folder / EVENTS_FILE

    def write(self, event: str, **values: Any) -> None:
        line = to_json(finite_or_none({"time": round(time.time(), 3), "event": event, **values})) + "\n"
        with errors_named(self._path), self._path.open("ab+") as stream:
            if stream.tell():
                stream.seek(-1, os.SEEK_END)
                if stream.read(1) != b"\n":  # a kill or a full disk has cut the line before
                    line = "\n" + line
            stream.write(line.encode())


def read_events(folder: Path) -> list[dict[str, Any]]:
    """The events of a run, oldest first; a line cut off by a crash is left out.

    What a diverging run logged as NaN or infinity is null in the file, and NaN here.
    """
    path = folder / EVENTS_FILE
    if not path.is_file():
        return []
    events = []
    for line in path.read_bytes().split(b"\n"):
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            if event.get("event") == "log":
                event = {name: math.nan if value is None else value for name, value in event.items()}
            events.append(event)
    return events
