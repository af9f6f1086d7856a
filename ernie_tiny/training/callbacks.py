"""What a running stage shows: a progress bar for people, VisualDL curves, events.jsonl for machines."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, Optional

from paddlenlp.trainer import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from tqdm import tqdm
from visualdl import LogWriter

EVENTS_FILE = "events.jsonl"
TERMINAL_REFRESH, LOG_REFRESH = 0.5, 15.0  # seconds between two states of the bar, on a terminal and in a file


class EventLog:
    """Appends one JSON object a line to a run's events.jsonl."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / EVENTS_FILE

    def write(self, event: str, **values: Any) -> None:
        line = json.dumps({"time": round(time.time(), 3), "event": event, **values}, ensure_ascii=False)
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")


class StageLog(TrainerCallback):
    """Shows the progress of one stage; only the main process has one.

    Args:
        stage: Stage name, with the task's behind a slash in a stage that runs per task.
        visualdl: Folder of the curves, or None.
    """

    def __init__(self, stage: str, events: EventLog, visualdl: Optional[Path]) -> None:
        self.stage, self.events = stage, events
        self._writer = LogWriter(logdir=str(visualdl)) if visualdl is not None else None
        self._bar: Optional[tqdm] = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        refresh = TERMINAL_REFRESH if sys.stderr.isatty() else LOG_REFRESH
        self._bar = tqdm(
            total=state.max_steps,
            initial=state.global_step,
            desc=self.stage,
            unit="step",
            mininterval=refresh,
            maxinterval=2 * refresh,
            dynamic_ncols=sys.stderr.isatty(),
        )
        self.events.write("train_begin", stage=self.stage, step=state.global_step, max_steps=state.max_steps)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self._bar is not None:
            self._bar.update(1)

    def record(self, step: int, values: dict[str, float]) -> None:
        """One set of scalars: losses by name, learning rate, speed."""
        self.events.write("log", stage=self.stage, step=step, **values)
        for name, value in values.items():
            if self._writer is not None:
                self._writer.add_scalar(tag=f"{self.stage}/{name}", value=float(value), step=step)
        if self._bar is not None:
            shown = [f"{name} {value:.4g}" for name, value in values.items() if _is_shown(name)]
            self._bar.set_postfix_str(" ".join(shown), refresh=False)

    def scores(self, step: int, scores: dict[str, float]) -> None:
        """Scores on dev, in percent."""
        self.events.write("scores", stage=self.stage, step=step, **scores)
        for name, value in scores.items():
            if self._writer is not None:
                self._writer.add_scalar(tag=f"{self.stage}/dev/{name}", value=float(value), step=step)
        if self._bar is not None:
            listed = "  ".join(f"{name} {value:.2f}" for name, value in scores.items())
            self._bar.write(f"{self.stage} step {step}, dev: {listed}", file=sys.stderr)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        if self._writer is not None:
            self._writer.close()


def _is_shown(name: str) -> bool:
    return name in ("loss", "tokens_per_second") or name.startswith("raw/")


def read_events(folder: Path) -> list[dict[str, Any]]:
    """The events of a run, oldest first; a line cut off by a crash is left out."""
    path = folder / EVENTS_FILE
    if not path.is_file():
        return []
    events = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line.endswith("}"):
            events.append(json.loads(line))
    return events
