"""VisualDL's view of a run: curves and histograms by stage (its models: ernie_tiny/runs/model_points.py).

VisualDL shows one log a folder, the newest. So each stage has a folder of its own below visualdl/, a resumed stage
writes its earlier curves again, and each model has a folder too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Optional

import numpy as np
from paddle import nn
from visualdl import LogWriter

CURVES_FOLDER = "visualdl"
SHOWN_EVENTS = {"log": "", "scores": "dev/"}  # event to what stands before its scalars' names
NO_SCALARS = ("time", "event", "stage", "step")
BUCKETS = 30


class StageCurves:
    """Scalars and, on request, histograms of one stage.

    Args:
        folder: The run's.
        stage: Stage name, with the task's behind a slash in a stage that runs per task.
        histograms: Whether to draw weights and gradients.
    """

    def __init__(self, folder: Path, stage: str, histograms: bool) -> None:
        self.histograms = histograms
        self._folder, self._stage = folder / CURVES_FOLDER / stage, stage
        self._writer: Optional[LogWriter] = None

    def begin(self, events: Iterable[Mapping[str, Any]], step: int) -> None:
        """Starts the log anew, with the stage's scalars up to a step; the later of two of one step counts."""
        self._writer = fresh_writer(self._folder)
        shown = {
            (event["event"], event["step"]): event
            for event in events
            if event.get("stage") == self._stage and event["event"] in SHOWN_EVENTS and event["step"] <= step
        }
        for (kind, at), event in sorted(shown.items(), key=lambda item: item[0][1]):
            values = {name: value for name, value in event.items() if name not in NO_SCALARS}
            self._scalars(kind, at, values, round(1000 * event["time"]))
        self._writer.flush()

    def add(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """One set of scalars, for everyone to see at once; `kind` is that of their event."""
        if self._writer is not None:
            self._scalars(kind, step, values)
            self._writer.flush()

    def _scalars(self, kind: str, step: int, values: Mapping[str, float], walltime: Optional[int] = None) -> None:
        assert self._writer is not None
        for name, value in values.items():
            tag = curve_tag(f"{self._stage}/{SHOWN_EVENTS[kind]}{name}")
            self._writer.add_scalar(tag=tag, value=float(value), step=step, walltime=walltime)

    def add_histograms(self, network: nn.Layer, step: int, scale: float = 1.0) -> None:
        """Each parameter's weights, as they are before the step, and its gradient divided by the loss's scale."""
        if self._writer is None:
            return
        for name, parameter in network.named_parameters():
            drawn = {"weights": parameter.numpy()}
            if parameter.grad is not None:
                drawn["gradients"] = parameter.grad.numpy() / scale
            for kind, values in drawn.items():
                finite = values[np.isfinite(values)]  # VisualDL cannot bin the rest
                if finite.size:
                    tag = curve_tag(f"{self._stage}/{kind}/{name}")
                    self._writer.add_histogram(tag=tag, values=finite, step=step, buckets=BUCKETS)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def fresh_writer(folder: Path) -> LogWriter:
    """A log in a folder from which earlier ones are removed."""
    for file in folder.glob("vdlrecords.*"):
        file.unlink()
    return LogWriter(logdir=str(folder))


def curve_tag(name: str) -> str:
    """VisualDL keeps the percent sign for itself."""
    return name.replace("%", "_")
