"""What a running stage shows: a progress bar for people, VisualDL curves, events.jsonl for machines."""

from __future__ import annotations

import logging
import sys
from typing import Any, Callable, Optional

from paddlenlp.trainer import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
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


class StageLog(TrainerCallback):
    """Shows the progress of one stage; only the main process has one.

    Args:
        stage: Stage name, with the task's behind a slash in a stage that runs per task.
        curves: What VisualDL shows of the stage, or None.
    """

    def __init__(self, stage: str, events: EventLog, curves: Optional[StageCurves]) -> None:
        self.stage, self.events, self._curves = stage, events, curves
        self._bar: Optional[tqdm] = None
        self._shares = TermShares(stage)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._bar = progress_bar(total=state.max_steps, initial=state.global_step, desc=self.stage, unit="step")
        if self._curves is not None:
            self._curves.begin(read_events(self.events.folder), state.global_step)
        self.events.write("train_begin", stage=self.stage, step=state.global_step, max_steps=state.max_steps)

    def on_optimizer_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Gradients are there between the last backward pass of a step and its optimizer alone."""
        step, scaler = state.global_step + 1, given["scaler"]
        if self._curves is not None and self._curves.histograms and step % args.logging_steps == 0:
            self._curves.add_histograms(given["model"], step, float(scaler.state_dict()["scale"]) if scaler else 1.0)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self._bar is not None:
            self._bar.update(1)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step == state.max_steps:  # and not interrupted
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


class StopWhenTold(TrainerCallback):
    """Ends training with a checkpoint, after the step or the evaluation in which it was told to."""

    def __init__(self, told: Callable[[], bool]) -> None:
        self._told = told
        self.stopped = False

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self._told():
            self.stopped = control.should_save = control.should_training_stop = True

    on_evaluate = on_step_end

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self._told():
            self.stopped = control.should_training_stop = True


def _is_shown(name: str) -> bool:
    return name in ("loss", "tokens_per_second") or name.startswith("raw/")
