"""The loop of one stage: draw the batches, forward and backward, step, log, evaluate, save.

It is written out, on Paddle's own parts, because a stage asks for four things of it:
- the data is one endless stream of batches whose position is saved, so that a resumed run ends where the undisturbed
  one does. A step draws its batches before the first of them is used, since what one weighs depends on the others;
- the random state is seeded anew for each batch from (seed, position, process), so that there is none to save;
- a checkpoint is written whole or not at all, with the stream's position and a checksum;
- a loss that is no number is found before it reaches the weights, with its batch and term. There a step waits for
  a GPU; else only where a term asks whether a batch is padded, and several processes whether to stop.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np
import paddle
from paddle import Tensor, nn

from ernie_tiny import processes
from ernie_tiny.batch import Batch
from ernie_tiny.config.schema import OptimConfig, RuntimeConfig
from ernie_tiny.distill.teacher import Teacher
from ernie_tiny.files import to_json, whole_folder
from ernie_tiny.training.callbacks import StageLog
from ernie_tiny.training.checkpoint import checkpoint_folder, prune_checkpoints, step_of
from ernie_tiny.training.interval import Interval
from ernie_tiny.training.network import StageNetwork
from ernie_tiny.training.optimizer import make_optimizer
from ernie_tiny.training.selection import BestWeights
from ernie_tiny.training.sharding import Sharding
from ernie_tiny.training.states import (
    load_optimizer,
    load_weights,
    optimizer_state,
    save_optimizer,
    save_weights,
    scaler_numbers,
)
from ernie_tiny.training.streams import BatchStream
from ernie_tiny.training.watch import GradientWatch, require_finite

STATE_FILE = "state.json"  # of a checkpoint
FIRST_LOSS_SCALE = 2.0**15

Shares = Mapping[str, Tensor]  # of Objective.forward


@dataclass(frozen=True)
class LoopSettings:
    """How a stage is trained.

    Attributes:
        folder: Of the stage; its checkpoints and best weights go there.
        steps: Optimizer steps of the whole stage.
        evaluate_every: Optimizer steps between evaluations, the last of which is behind the last step; None for none.
        parts_unused: Whether a batch may use less of the network than another, as a stage of several heads does.
        part_labelled: Whether some examples have no label, so that the share of the others is logged.
    """

    folder: Path
    steps: int
    seed: int
    optim: OptimConfig
    runtime: RuntimeConfig
    evaluate_every: Optional[int] = None
    parts_unused: bool = False
    part_labelled: bool = False


class StageLoop:
    """Trains a StageNetwork on a stream of batches.

    Args:
        score: Called for evaluation; gives scores by name, in percent. Their mean selects the best weights.
        log: Where progress goes; None on all but the main process.
        told_to_stop: Whether this process is to stop; looked at in each step.

    Attributes:
        step: Optimizer steps done since the stage began.
        stopped: Whether training ended before its time, with a checkpoint, because it was told to.
    """

    def __init__(
        self,
        network: StageNetwork,
        stream: BatchStream,
        teacher: Optional[Teacher],
        settings: LoopSettings,
        score: Callable[[], dict[str, float]],
        log: Optional[StageLog],
        told_to_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.network, self.stream, self.teacher, self.settings = network, stream, teacher, settings
        self._score, self._log, self._told_to_stop = score, log, told_to_stop
        parts = processes.world_size() if settings.runtime.sharding == "optimizer" else 1
        self._sharding = Sharding(network, parts) if parts > 1 else None
        self.optimizer, self.schedule = make_optimizer(settings.optim, settings.steps, network, self._sharding)
        half = settings.runtime.precision == "float16"
        self.scaler: Any = paddle.amp.GradScaler(init_loss_scaling=FIRST_LOSS_SCALE) if half else None
        self.best = BestWeights(network, settings.folder)
        self._interval = Interval(teacher, settings.part_labelled)
        self._gradients = GradientWatch(network, settings.folder)
        self.step, self.stopped = 0, False
        self._position = 0  # batches drawn since the stage began
        self._tokens = paddle.zeros([], "int64")  # a tensor: on a GPU a number would wait for every step
        self._told = paddle.zeros([], "int64")
        self._seconds_before, self._start = 0.0, time.perf_counter()

    def train(self, checkpoint: Optional[Path] = None) -> None:
        """Trains up to the last step, or until it is told to stop; from a checkpoint, where there is one.

        Raises:
            InputError: the loss or a weight is NaN or infinite, or the checkpoint is of another network.
        """
        if checkpoint is not None:
            self.load(checkpoint)
        if self._is_done:
            return
        model: nn.Layer = self.network
        if processes.world_size() > 1:
            model = paddle.DataParallel(model, find_unused_parameters=self.settings.parts_unused)
        self._interval.begin(self.tokens)
        if self._log is not None:
            self._log.begin(self.step, self.settings.steps)
        while not self._is_done and not self.stopped:
            self._take_step(model)
            self.stopped = self._is_to_stop()
            if self._is_due(self._logging_steps):
                self._write_log()
            if self.settings.evaluate_every and (self._is_done or self._is_due(self.settings.evaluate_every)):
                self.evaluate()
                self.stopped = self.stopped or self._is_to_stop()
            if self.stopped or self._is_due(self.settings.runtime.save_steps):
                self.save()
                self.stopped = self.stopped or self._is_to_stop()
        if self._log is not None:
            self._log.end(finished=self._is_done)

    def _take_step(self, model: nn.Layer) -> None:
        drawn = draw_step(self.stream, self.network.counts, self.settings.optim.accumulate, self._told_to_stop())
        self._tokens, self._told = self._tokens + drawn.tokens, drawn.told
        found = []
        for number, (batch, shares) in enumerate(drawn.parts, 1):
            last = number == len(drawn.parts)  # the processes sum their gradients with it
            with contextlib.nullcontext() if last or model is self.network else model.no_sync():
                found.append((batch, self.forward_backward(model, batch, shares)))
        require_finite(self._interval.loss, found, self.settings.folder, self.step + 1)
        if self._log is not None:  # in the main process, which alone says what is found
            self._gradients.look([batch for batch, _ in found])
        if self._log is not None and (self.step + 1) % self._logging_steps == 0:
            scale = 1.0 if self.scaler is None else float(self.scaler.state_dict()["scale"])
            self._log.histograms(self.network, self.step + 1, scale)
        if self._optimize():
            self.network.decay_unused_rows(1 - self.optimizer.get_lr() * self.settings.optim.weight_decay)
            self.schedule.step()
        if self._sharding is not None:
            self._sharding.spread()
        # Zeros would let the optimizer move a head that a step did not use; a resumed run has none.
        self.optimizer.clear_grad(set_to_zero=False)
        self.step += 1
        self._interval.end_step()
        if self._log is not None:
            self._log.advance()

    def forward_backward(self, model: nn.Layer, batch: Batch, shares: Optional[Shares]) -> dict[str, Tensor]:
        """Adds the gradients of a batch to the step's; its raw terms, detached."""
        paddle.seed(_batch_seed(self.settings.seed, self._position, processes.rank()))
        self._position += 1
        model.train()
        with self._autocast():
            signals = self.teacher(batch) if self.teacher is not None else None
            loss, terms = model(batch, signals, self.progress, shares)
        if self.settings.optim.accumulate > 1:
            loss = loss / self.settings.optim.accumulate
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()
        terms = {name: value.detach() for name, value in terms.items()}
        self._interval.add_batch(batch, loss.detach(), terms, self.network.weights(self.progress))
        return terms

    def _autocast(self) -> Any:
        precision: Any = self.settings.runtime.precision
        if precision == "float32":
            return contextlib.nullcontext()
        return paddle.amp.auto_cast(level="O1", dtype=precision)

    def _optimize(self) -> bool:
        """Clips and takes the step; False where loss scaling has found an infinite gradient and skipped it."""
        if self.scaler is None:
            self.optimizer.step()
            return True
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return not self.scaler._cache_found_inf

    @property
    def progress(self) -> float:
        """The part of this stage's optimizer steps that is done, 0 to 1."""
        return self.step / self.settings.steps

    @property
    def seconds(self) -> float:
        """Time spent in this stage, that of earlier processes up to their last checkpoint included."""
        return self._seconds_before + time.perf_counter() - self._start

    @property
    def tokens(self) -> int:
        """Tokens of all processes that this stage has trained on."""
        return int(self._tokens)

    @property
    def _logging_steps(self) -> int:
        return min(self.settings.runtime.logging_steps, self.settings.steps)

    @property
    def _is_done(self) -> bool:
        return self.step >= self.settings.steps

    def _is_due(self, every: Optional[int]) -> bool:
        return bool(every and self.step % every == 0)

    def _is_to_stop(self) -> bool:
        """Whether some process was told to stop: the same answer in all of them after the same step.

        Several processes agree when they draw a step, so that what comes later counts for the next step; behind the
        last one, which no other follows, they agree anew.
        """
        if processes.world_size() == 1:
            return self._told_to_stop()
        if self._is_done:
            self._told = processes.total([self._told_to_stop()])[0]
        return bool(self._told)

    def _write_log(self) -> None:
        values = self._interval.values(self.tokens, self.optimizer.get_lr())
        if self.scaler is not None:  # the schedule stands still in a step that is skipped
            values["scaler_skips"] = self.step - self.schedule.last_epoch
        if self._log is not None:
            self._log.record(self.step, values)
            self._log.warn(self._gradients.judge())
        self._interval.begin(self.tokens)

    def evaluate(self) -> None:
        """Scores on dev; the weights are kept when the mean of the scores is the best so far."""
        start = time.perf_counter()
        scores = self._score()
        if self._log is not None:
            self._log.scores(self.step, scores)
        self.best.offer(float(np.mean(list(scores.values()))), self.step)
        self._interval.leave_out(time.perf_counter() - start)

    def save(self) -> None:
        """Writes a checkpoint. Every process calls it; the main one writes."""
        optimizer = optimizer_state(self.optimizer, self.network, self._sharding)
        processes.from_main(lambda: self._write_checkpoint(optimizer))

    def _write_checkpoint(self, optimizer: Mapping[str, Any]) -> None:
        state = {
            "position": self._position,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "stream": self.stream.state_dict(),
            "scheduler": self.schedule.state_dict(),
            "scaler": scaler_numbers(self.scaler) if self.scaler is not None else {},
        }
        with whole_folder(checkpoint_folder(self.settings.folder, self.step)) as checkpoint:
            save_weights(self.network, checkpoint)
            save_optimizer(optimizer, checkpoint)
            (checkpoint / STATE_FILE).write_text(to_json(state), encoding="utf-8")
        prune_checkpoints(self.settings.folder, self.settings.runtime.keep_checkpoints, self.step)

    def load(self, checkpoint: Path) -> None:
        """Puts back what `save` wrote.

        Raises:
            InputError: the weights are those of another network.
        """
        load_weights(self.network, checkpoint)
        load_optimizer(self.optimizer, self.network, checkpoint, self._sharding)
        state: dict[str, Any] = json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8"))
        self.step, self._position = step_of(checkpoint), state["position"]
        self._tokens = paddle.to_tensor(state["tokens"], dtype="int64")
        self._seconds_before = state["seconds"]
        self.stream.load_state_dict(state["stream"])
        # By its place alone: the rate that was saved is that of the old number of steps, which may have grown.
        self.schedule.step(state["scheduler"]["last_epoch"])
        if self.scaler is not None and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])


# ---- the batches of a step


@dataclass(frozen=True)
class Step:
    """One optimizer step's batches of this process.

    Attributes:
        parts: Each batch with its factor for each term: what the term counts in it, over the mean count of the step's
            batches of its task in all processes. The mean of the batches' losses and gradients is then that of one
            large batch; of several tasks each weighs by its number of batches, whatever its kind counts. None where
            there is one batch and one process.
        tokens: int64 scalar, real tokens of all batches in all processes.
        told: int64 scalar, how many processes were told to stop before the step.
    """

    parts: tuple[tuple[Batch, Optional[Shares]], ...]
    tokens: Tensor
    told: Tensor


def draw_step(
    stream: BatchStream, counts_of: Callable[[Batch], Mapping[str, int]], accumulate: int, told_to_stop: bool
) -> Step:
    """The next `accumulate` batches of a stream: all of them, since what one weighs depends on the others.

    Args:
        counts_of: How many things each term is the mean of in a batch; the same terms for each.
        told_to_stop: Whether this process is to stop.
    """
    batches = [stream.next_batch() for _ in range(accumulate)]
    counts = [counts_of(batch) for batch in batches]
    tokens = sum(batch.num_tokens for batch in batches)
    number = Counter(batch.task for batch in batches)  # the same in every process: all draw one task at a time
    sums = Counter[tuple[str, str]]()
    for batch, found in zip(batches, counts):
        sums.update({(batch.task, name): count for name, count in found.items()})
    totals = processes.total([*sums.values(), tokens, told_to_stop])
    shares: list[Optional[Shares]] = [None] * accumulate
    if accumulate * processes.world_size() > 1:
        # A term that counts nothing in a step, as hard without a labelled example, is 0 in it: shares of 0, not of 0/0.
        counted = zip(sums, totals.clip(min=1).astype("float32"))
        means = {(task, name): total / (number[task] * processes.world_size()) for (task, name), total in counted}
        shares = [
            {name: count / means[batch.task, name] for name, count in found.items()}
            for batch, found in zip(batches, counts)
        ]
    return Step(tuple(zip(batches, shares)), totals[-2], totals[-1])


def _batch_seed(seed: int, position: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, position, rank]).generate_state(1)[0])
