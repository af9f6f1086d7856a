"""PaddleNLP's Trainer with our batches, objective, teacher and checkpoints put in.

The Trainer gives the loop: AMP and loss scaling, accumulation, clipping, the schedule, data parallelism. What
is replaced, and why:
- the data: a stage is one endless stream of batches whose position is saved, because the Trainer's own resume
  loads the random state again at each later epoch and then ends elsewhere than the undisturbed run;
- the random state: it is seeded anew for each batch from (seed, position), so there is none to save;
- the checkpoints: written whole or not at all, with the stream's position and a checksum.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Optional, Protocol

import numpy as np
import paddle
from paddle import Tensor, nn
from paddlenlp.trainer import PrinterCallback, Trainer, TrainerControl, TrainingArguments
from safetensors.numpy import load_file, save_file

from ernie_tiny.batch import Batch
from ernie_tiny.distill.objective import Objective
from ernie_tiny.distill.teacher import LiveTeacher
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.models.signals import Signals
from ernie_tiny.training.callbacks import StageLog
from ernie_tiny.training.checkpoint import checkpoint_folder, prune_checkpoints, whole_folder

WEIGHTS_FILE = "network.safetensors"
OPTIMIZER_FILE = "optimizer.pdopt"
STREAM_FILE = "stream.json"
BEST_FOLDER = "best"


class BatchStream(Protocol):
    """An endless, deterministic sequence of batches with a small position."""

    def next_batch(self) -> Batch: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class StageNetwork(nn.Layer):
    """The trained model with its objective: what is optimised, saved and resumed together."""

    def __init__(self, model: MultiTaskModel, objective: Objective) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, batch: Batch, teacher: Optional[Signals]) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted loss and its raw terms. They are returned so that data parallelism sees what is used."""
        return self.objective(self.model(batch, self.objective.student_request), teacher, batch)


class StageTrainer(Trainer):
    """Trains a StageNetwork on a stream of batches.

    Args:
        score: Called for evaluation; gives scores by name, in percent. Their mean selects the best weights.
        log: Where progress goes; None on all but the main process.
        keep: Number of checkpoints that are kept.
    """

    control: TrainerControl

    def __init__(
        self,
        network: StageNetwork,
        stream: BatchStream,
        teacher: Optional[LiveTeacher],
        arguments: TrainingArguments,
        score: Callable[[], dict[str, float]],
        log: Optional[StageLog],
        keep: int,
    ) -> None:
        super().__init__(model=network, args=arguments, callbacks=[log] if log is not None else None)
        self.pop_callback(PrinterCallback)
        self.network, self.stream, self.teacher = network, stream, teacher
        self._score, self._log, self._keep = score, log, keep
        self._position = 0  # batches drawn since the stage began
        self.tokens = 0
        self._seconds_before, self._start = 0.0, time.perf_counter()
        self._forget_interval()

    @property
    def seconds(self) -> float:
        """Time spent in this stage, that of earlier processes up to their last checkpoint included."""
        return self._seconds_before + time.perf_counter() - self._start

    def get_train_dataloader(self) -> _Endless:
        return _Endless(self.stream)

    def _prepare_inputs(self, inputs: Batch) -> Batch:
        return inputs

    def compute_loss(self, model: nn.Layer, inputs: Batch, return_outputs: bool = False) -> Tensor:
        paddle.seed(_batch_seed(self.args.seed, self._position, self.args.process_index))
        self._position += 1
        self.tokens += inputs.num_tokens
        self._interval_tokens += inputs.num_tokens
        signals = self.teacher(inputs) if self.teacher is not None else None
        total, terms = model(inputs, signals)
        for name, value in terms.items():
            self._interval_terms[name].append(value.detach())
        return total

    def log(self, logs: dict[str, float], **_: Any) -> None:
        """Passes the Trainer's loss on with the terms by name, raw and weighted, and the speed."""
        if self._log is None or "loss" not in logs or not self._interval_terms:
            return
        seconds = time.perf_counter() - self._interval_start
        values = {"loss": logs["loss"], "learning_rate": logs["learning_rate"]}
        for name, losses in self._interval_terms.items():
            raw = float(np.mean([float(loss) for loss in losses]))
            values[f"raw/{name}"] = raw
            values[f"weighted/{name}"] = raw * self.network.objective.weights[name]
        values["tokens_per_second"] = self._interval_tokens / seconds
        if self.teacher is not None:
            teacher_seconds = self.teacher.seconds - self._teacher_seconds
            values["teacher_tokens_per_second"] = self._interval_tokens / teacher_seconds
            values["student_tokens_per_second"] = self._interval_tokens / (seconds - teacher_seconds)
        self._log.record(self.state.global_step, values)
        self._forget_interval()

    def _forget_interval(self) -> None:
        self._interval_start, self._interval_tokens = time.perf_counter(), 0
        self._interval_terms: dict[str, list[Tensor]] = defaultdict(list)
        self._teacher_seconds = self.teacher.seconds if self.teacher is not None else 0.0

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Scores on dev; the weights are kept when their mean is the best so far."""
        scores = self._score()
        mean = float(np.mean(list(scores.values())))
        if self._log is not None:
            self._log.scores(self.state.global_step, scores)
        if self.state.best_metric is None or mean > self.state.best_metric:
            self.state.best_metric = mean
            if self.args.should_save:
                with whole_folder(Path(self.args.output_dir) / BEST_FOLDER) as folder:
                    _save_weights(self.network, folder)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, scores)
        self._forget_interval()
        return scores

    def load_best(self) -> None:
        """Puts the weights of the best evaluation back, if there was one."""
        if self.state.best_metric is not None:
            _load_weights(self.network, Path(self.args.output_dir) / BEST_FOLDER)

    def _save_checkpoint(self, model: nn.Layer, metrics: Optional[dict[str, float]] = None) -> None:
        if self.args.should_save:
            folder = Path(self.args.output_dir)
            with whole_folder(checkpoint_folder(folder, self.state.global_step)) as checkpoint:
                _save_weights(self.network, checkpoint)
                states = {"optimizer": self.optimizer.state_dict(), "scheduler": self.lr_scheduler.state_dict()}
                if self.do_grad_scaling:
                    states["scaler"] = self.scaler.state_dict()
                paddle.save(states, str(checkpoint / OPTIMIZER_FILE))
                stream = {
                    "position": self._position,
                    "tokens": self.tokens,
                    "seconds": self.seconds,
                    "stream": self.stream.state_dict(),
                }
                (checkpoint / STREAM_FILE).write_text(json.dumps(stream), encoding="utf-8")
                self.state.save_to_json(str(checkpoint / "trainer_state.json"))
            prune_checkpoints(folder, self._keep, self.state.global_step)

    def _load_from_checkpoint(self, resume_from_checkpoint: Optional[str] = None) -> None:
        if resume_from_checkpoint is not None:
            _load_weights(self.network, Path(resume_from_checkpoint))

    def _load_optimizer_and_scheduler(self, checkpoint: Optional[str]) -> None:
        if checkpoint is None:
            return
        states = paddle.load(str(Path(checkpoint) / OPTIMIZER_FILE))
        self.optimizer.set_state_dict(states["optimizer"])
        self.lr_scheduler.set_state_dict(states["scheduler"])
        if self.do_grad_scaling:
            self.scaler.load_state_dict(states["scaler"])
        stream = json.loads((Path(checkpoint) / STREAM_FILE).read_text(encoding="utf-8"))
        self._position, self.tokens = stream["position"], stream["tokens"]
        self._seconds_before = stream["seconds"]
        self.stream.load_state_dict(stream["stream"])


class _Endless:
    """A stream as an iterable without a length."""

    def __init__(self, stream: BatchStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[Batch]:
        while True:
            yield self._stream.next_batch()


def _batch_seed(seed: int, position: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, position, rank]).generate_state(1)[0])


def _save_weights(network: nn.Layer, folder: Path) -> None:
    arrays = {name: np.ascontiguousarray(value.numpy()) for name, value in network.state_dict().items()}
    save_file(arrays, folder / WEIGHTS_FILE)


def _load_weights(network: nn.Layer, folder: Path) -> None:
    weights = load_file(folder / WEIGHTS_FILE)
    network.set_state_dict({name: paddle.to_tensor(value) for name, value in weights.items()})
