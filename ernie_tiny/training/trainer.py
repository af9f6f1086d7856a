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
from typing import Any, Callable, Optional

import numpy as np
import paddle
from paddle import Tensor, nn
from paddlenlp.trainer import PrinterCallback, Trainer, TrainerControl, TrainingArguments
from safetensors.numpy import load_file, save_file

from ernie_tiny import processes
from ernie_tiny.batch import Batch
from ernie_tiny.distill.teacher import Teacher
from ernie_tiny.training.callbacks import StageLog
from ernie_tiny.training.checkpoint import checkpoint_folder, prune_checkpoints, whole_folder
from ernie_tiny.training.network import ClipEachModel, StageNetwork
from ernie_tiny.training.streams import BatchStream

WEIGHTS_FILE = "network.safetensors"
OPTIMIZER_FILE = "optimizer.pdopt"
STREAM_FILE = "stream.json"
BEST_FOLDER = "best"


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
        teacher: Optional[Teacher],
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
        self._tokens = paddle.zeros([], "int64")  # a tensor: on a GPU a number would wait for every step
        self._seconds_before, self._start = 0.0, time.perf_counter()
        self._forget_interval()

    @property
    def seconds(self) -> float:
        """Time spent in this stage, that of earlier processes up to their last checkpoint included."""
        return self._seconds_before + time.perf_counter() - self._start

    @property
    def tokens(self) -> int:
        """Tokens of all processes that this stage has trained on."""
        return int(self._tokens)

    @property
    def progress(self) -> float:
        """The part of this stage's optimizer steps that is done, 0 to 1."""
        return self.state.global_step / max(1, self.state.max_steps)

    def create_optimizer(self, lr_scheduler: Any = None) -> Any:
        """AdamW without decay on biases and norms, as the Trainer makes it, but clipping each model's gradient apart."""
        if self.optimizer is None:
            decayed = {
                parameter.name
                for name, parameter in self.network.named_parameters()
                if "bias" not in name and "norm" not in name
            }
            optimizer, options = Trainer.get_optimizer_cls_and_kwargs(self.args)
            clip = ClipEachModel(self.args.max_grad_norm, self.network) if self.args.max_grad_norm else None
            self.optimizer = optimizer(
                learning_rate=lr_scheduler or self.lr_scheduler,
                apply_decay_param_fun=decayed.__contains__,
                parameters=self.network.parameters(),
                weight_decay=self.args.weight_decay,
                grad_clip=clip,
                **options,
            )
        return self.optimizer

    def get_train_dataloader(self) -> _Endless:
        return _Endless(self.stream)

    def _prepare_inputs(self, inputs: Batch) -> Batch:
        return inputs

    def compute_loss(self, model: nn.Layer, inputs: Batch, return_outputs: bool = False) -> Tensor:
        paddle.seed(_batch_seed(self.args.seed, self._position, self.args.process_index))
        self._position += 1
        signals = self.teacher(inputs) if self.teacher is not None else None
        total, terms = model(inputs, signals, self.progress, self._count(inputs))
        for name, value in terms.items():
            self._interval_terms[name].append(value.detach())
        return total

    def _count(self, batch: Batch) -> Optional[dict[str, Tensor]]:
        """Counts the batch's tokens; gives the shares that Objective.forward takes, None for one process."""
        counts = self.network.counts(batch)
        totals = processes.total([*counts.values(), batch.num_tokens])
        self._tokens = self._tokens + totals[-1]
        if processes.world_size() == 1:
            return None
        means = totals.astype("float32") / processes.world_size()
        return {name: count / mean for (name, count), mean in zip(counts.items(), means)}

    def log(self, logs: dict[str, float], **_: Any) -> None:
        """Passes the Trainer's loss on with the terms by name, raw and weighted, and the speed."""
        if "loss" not in logs or not self._interval_terms:
            return
        seconds, tokens = time.perf_counter() - self._interval_start, self.tokens - self._interval_tokens
        losses = [float(np.mean([float(loss) for loss in found])) for found in self._interval_terms.values()]
        values = {"loss": logs["loss"], "learning_rate": logs["learning_rate"]}
        weights = self.network.weights(self.progress)
        for name, raw in zip(self._interval_terms, processes.mean(losses)):
            values[f"raw/{name}"] = raw
            values[f"weighted/{name}"] = raw * weights[name]
        values["tokens_per_second"] = tokens / seconds
        if self.teacher is not None:
            teacher_seconds = self.teacher.seconds - self._teacher_seconds
            if teacher_seconds:  # a cached one takes none
                values["teacher_tokens_per_second"] = tokens / teacher_seconds
            values["student_tokens_per_second"] = tokens / (seconds - teacher_seconds)
        if self._log is not None:
            self._log.record(self.state.global_step, values)
        self._forget_interval()

    def _forget_interval(self) -> None:
        self._interval_start, self._interval_tokens = time.perf_counter(), self.tokens
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
            processes.from_main(self._save_best)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, scores)
        self._forget_interval()
        return scores

    def _save_best(self) -> None:
        with whole_folder(Path(self.args.output_dir) / BEST_FOLDER) as folder:
            _save_weights(self.network, folder)

    def load_best(self) -> None:
        """Puts the weights of the best evaluation back, if there was one."""
        if self.state.best_metric is not None:
            _load_weights(self.network, Path(self.args.output_dir) / BEST_FOLDER)

    def _save_checkpoint(self, model: nn.Layer, metrics: Optional[dict[str, float]] = None) -> None:
        processes.from_main(self._write_checkpoint)

    def _write_checkpoint(self) -> None:
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
        self._position, self._tokens = stream["position"], paddle.to_tensor(stream["tokens"], dtype="int64")
        self._seconds_before = stream["seconds"]
        self._forget_interval()
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
