"""Where a teacher's signals come from."""

from __future__ import annotations

import time

import paddle
from paddle import nn

from ernie_tiny.batch import Batch
from ernie_tiny.models.signals import SignalRequest, Signals


class LiveTeacher:
    """The signals of a frozen model, computed for each batch: eval mode, no gradient, nothing above the last tap.

    Attributes:
        seconds: Time spent in forward passes so far.
    """

    def __init__(self, model: nn.Layer, request: SignalRequest) -> None:
        self.model, self.request = model, request
        self.model.eval()
        self.seconds = 0.0

    def __call__(self, batch: Batch) -> Signals:
        start = time.perf_counter()
        with paddle.no_grad():
            signals = self.model(batch, self.request)
        self.seconds += time.perf_counter() - start
        return signals
