"""What a running stage shows: a progress bar for people, VisualDL curves, events.jsonl for machines."""

from __future__ import annotations

import logging
import sys
from typing import Any, Optional

from paddle import nn
from tqdm import tqdm

from ernie_tiny.training.curves import StageCurves
from ernie_tiny.training.events import EventLog, read_events
from ernie_tiny.training.term_shares import TermShares

TERMINAL_REFRESH, LOG_REFRESH = 0.5, 15.0  # seconds between two states of the bar, on a terminal and in a file
logger = logging.getLogger(__name__)


def progress_bar(**options: Any) -> tqdm:
    """A bar that a terminal sees often, and a file now and then; `options` are tqdm's."""
    terminal = sys.stderr.isatty()
    refresh = TERMINAL_REFRESH if terminal else LOG_REFRESH
    return tqdm(mininterval=refresh, maxinterval=2 * refresh, dynamic_ncols=terminal, **options)


class StageLog:
    """Shows the progress of one stage; only the main process has one.

    Args:
        stage: Stage name, with the task's behind a slash in a stage that runs per task.
        curves: What VisualDL shows of the stage, or None.
    """

    def __init__(self, stage: str, events: EventLog, curves: Optional[StageCurves]) -> None:
        self.stage, self.events, self._curves = stage, events, curves
        self._bar: Optional[tqdm] = None
        self._shares = TermShares(stage)

    def begin(self, step: int, steps: int) -> None:
        """The stage goes on after `step` of its `steps`."""
        self._bar = progress_bar(total=steps, initial=step, desc=self.stage, unit="step")
        if self._curves is not None:
            self._curves.begin(read_events(self.events.folder), step)
        self.events.write("train_begin", stage=self.stage, step=step, max_steps=steps)

    def histograms(self, network: nn.Layer, step: int, scale: float) -> None:
        """Weights and gradients, where they are wanted: to be called when a step's gradients are there.

        Args:
            scale: What the loss was multiplied with.
        """
        if self._curves is not None and self._curves.histograms:
            self._curves.add_histograms(network, step, scale)

    def advance(self) -> None:
        """A step is done."""
        if self._bar is not None:
            self._bar.update(1)

    def end(self, finished: bool) -> None:
        """Training has ended: with the last step, or before it by an interruption."""
        if finished:
            self.warn(self._shares.end())

    def record(self, step: int, values: dict[str, float]) -> None:
        """One set of scalars: losses by name, learning rate, speed."""
        self.events.write("log", stage=self.stage, step=step, **values)
        self.warn(self._shares.add(values))
        if self._curves is not None:
            self._curves.add("log", step, values)
        if self._bar is not None:
            shown = [f"{name} {value:.4g}" for name, value in values.items() if _is_shown(name)]
            self._bar.set_postfix_str(" ".join(shown), refresh=False)

    def scores(self, step: int, scores: dict[str, float]) -> None:
        """Scores on dev, in percent."""
        self.events.write("scores", stage=self.stage, step=step, **scores)
        if self._curves is not None:
            self._curves.add("scores", step, scores)
        if self._bar is not None:
            listed = "  ".join(f"{name} {value:.2f}" for name, value in scores.items())
            self._bar.write(f"{self.stage} step {step}, dev: {listed}", file=sys.stderr)

    def warn(self, warnings: list[str]) -> None:
        """Sentences, to people and into the events."""
        for warning in warnings:
            logger.warning("%s", warning)
            self.events.write("warning", stage=self.stage, text=warning)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        if self._curves is not None:
            self._curves.close()


def _is_shown(name: str) -> bool:
    return name in ("loss", "tokens_per_second") or name.startswith("raw/")
