"""What is logged of a stage: means over the steps since the line before, and the speed."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Optional

import numpy as np
import paddle
from paddle import Tensor

from ernie_tiny import processes
from ernie_tiny.batch import Batch
from ernie_tiny.distill.teacher import Teacher


class Interval:
    """The steps between two lines of the log. Losses stay on the device: a number would wait for every step."""

    def __init__(self, teacher: Optional[Teacher], part_labelled: bool = False) -> None:
        """With `part_labelled` the share of labelled examples is logged."""
        self._teacher, self._part_labelled = teacher, part_labelled
        self.begin(0)

    def begin(self, tokens: int) -> None:
        """Starts anew; `tokens` is how many of all processes the stage has trained on so far."""
        self.loss, self._steps = paddle.zeros([]), 0  # float32 scalar, the sum over the steps
        self._terms: dict[str, list[Tensor]] = defaultdict(list)
        self._weighted: dict[str, list[Tensor]] = defaultdict(list)
        self._examples, self._labelled = 0, 0
        self._start, self._tokens = time.perf_counter(), tokens
        self._teacher_start = self._teacher_seconds

    def add_batch(self, batch: Batch, loss: Tensor, terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> None:
        """A batch, its weighted loss, by which it adds to its step's, its raw terms and their weights in this step."""
        self.loss = self.loss + loss
        if self._part_labelled:
            self._examples += len(batch.example_ids)
            self._labelled += int(batch.labelled.sum())
        for name, value in terms.items():
            self._terms[name].append(value)
            self._weighted[name].append(weights[name] * value)

    def end_step(self) -> None:
        self._steps += 1

    def leave_out(self, seconds: float) -> None:
        """Takes time in which nothing was trained out of the speed."""
        self._start += seconds

    def values(self, tokens: int, learning_rate: float) -> dict[str, float]:
        """The loss a step, terms raw and weighted, the processes' means, and tokens a second of all together.

        Of teacher and student apart too, where the teacher's time is known.

        Every process has to call it.

        Args:
            tokens: As in begin.
        """
        seconds, tokens = time.perf_counter() - self._start, tokens - self._tokens
        found = [*self._terms.values(), *self._weighted.values()]
        means = [float(np.mean([float(value) for value in each])) for each in found]
        loss, examples, labelled, *means = processes.mean(
            [float(self.loss) / self._steps, self._examples, self._labelled, *means]
        )
        values = {"loss": round(loss, 8), "learning_rate": float(f"{learning_rate:.3e}")}
        for name, raw, weighted in zip(self._terms, means, means[len(self._terms) :]):
            values[f"raw/{name}"] = raw
            values[f"weighted/{name}"] = weighted
        if self._part_labelled:
            values["labelled_share"] = labelled / examples
        values["tokens_per_second"] = tokens / seconds
        teacher_seconds = self._teacher_seconds - self._teacher_start
        if self._teacher is not None and not math.isnan(teacher_seconds):
            if teacher_seconds:  # a cached one takes none
                values["teacher_tokens_per_second"] = tokens / teacher_seconds
            values["student_tokens_per_second"] = tokens / (seconds - teacher_seconds)
        return values

    @property
    def _teacher_seconds(self) -> float:
        return self._teacher.seconds if self._teacher is not None else 0.0
