"""Where a teacher's signals come from. A trainer cannot tell one source from another."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Protocol

import paddle
from paddle import nn

from ernie_tiny.batch import Batch
from ernie_tiny.engines import Engine
from ernie_tiny.models.signal_network import SignalNetwork
from ernie_tiny.models.signals import SignalRequest, Signals, to_tensor


class Teacher(Protocol):
    """Gives the signals of a batch.

    Attributes:
        seconds: Time spent on them so far; NaN where nobody waits for them.
    """

    @property
    def seconds(self) -> float: ...

    def __call__(self, batch: Batch) -> Signals: ...


class LiveTeacher:
    """The signals of a frozen model, computed for each batch: eval mode, no gradient, nothing above the last tap."""

    def __init__(self, model: nn.Layer, request: SignalRequest) -> None:
        self.model, self.request = model, request
        self.model.eval()
        # A GPU is given its work and not waited for, which would cost the step more than the number is worth.
        self.seconds = math.nan if paddle.device.get_device().startswith("gpu") else 0.0

    def __call__(self, batch: Batch) -> Signals:
        start = time.perf_counter()
        with paddle.no_grad():
            signals: Signals = self.model(batch, self.request)
        self.seconds += time.perf_counter() - start
        return signals


class EngineTeacher:
    """The signals of a frozen model whose encoder runs on an inference engine; its heads, which are small, run here.

    Args:
        engine: Runs the network, exported.
    """

    def __init__(self, engine: Engine, network: SignalNetwork) -> None:
        self.model, self.request, self._engine = network.model, network.request, engine
        self._read_by_heads = network.read_by_heads
        self.model.eval()
        self.seconds = 0.0

    def __call__(self, batch: Batch) -> Signals:
        start = time.perf_counter()
        signals = Signals(to_tensor(batch.attention_mask))
        found = {name: to_tensor(array) for name, array in self._engine(batch).items()}
        for signal in self.request.token_signals:
            signal.put(signals, found[str(signal)])
        if self.request.logits:
            with paddle.no_grad():
                sequence, pooled = (found[name] for name in self._read_by_heads)
                signals.logits = self.model.answer(batch, sequence, pooled, signals.attention_mask)
        self.seconds += time.perf_counter() - start
        return signals


class PerTaskTeacher:
    """One teacher for each task: that of a batch's task answers."""

    def __init__(self, teachers: Mapping[str, Teacher]) -> None:
        self.teachers = teachers

    @property
    def seconds(self) -> float:
        return sum(teacher.seconds for teacher in self.teachers.values())

    def __call__(self, batch: Batch) -> Signals:
        return self.teachers[batch.task](batch)


class EnsembleTeacher:
    """The weighted mean of several teachers' logits. Their other signals have no common meaning and are not given.

    Args:
        teachers: Teachers with their weights, of which only the ratios count.
    """

    def __init__(self, teachers: list[tuple[Teacher, float]]) -> None:
        self.teachers = teachers

    @property
    def seconds(self) -> float:
        return sum(teacher.seconds for teacher, _ in self.teachers)

    def __call__(self, batch: Batch) -> Signals:
        found = [(teacher(batch), weight) for teacher, weight in self.teachers]
        total = sum(weight for _, weight in found)
        logits = paddle.add_n([signals.logits * (weight / total) for signals, weight in found])
        return Signals(found[0][0].attention_mask, logits=logits)
