"""PaddleNLP's Trainer with our batches, objective, teacher and checkpoints put in.

The Trainer gives the loop: AMP and loss scaling, accumulation, clipping, the schedule, data parallelism. What
is replaced, and why:
- the data: a stage is one endless stream of batches whose position is saved, because the Trainer's own resume
  loads the random state again at each later epoch and then ends elsewhere than the undisturbed run. A step draws its
  batches before the first of them is used, so that each weighs by what it counts;
- the random state: it is seeded anew for each batch from (seed, position), so there is none to save;
- the checkpoints: written whole or not at all, with the stream's position and a checksum;
- the check of the loss: it names the batch and the term, and is the one place where a step waits for a GPU.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np
import paddle
from paddle import Tensor, nn
from paddlenlp.trainer import PrinterCallback, Trainer, TrainerControl, TrainerState, TrainingArguments

from ernie_tiny import processes
from ernie_tiny.batch import Batch
from ernie_tiny.distill.teacher import Teacher
from ernie_tiny.errors import InputError
from ernie_tiny.files import to_json
from ernie_tiny.training.callbacks import StageLog, StopWhenTold
from ernie_tiny.training.checkpoint import (
    BEST,
    checkpoint_folder,
    checkpoints,
    latest_checkpoint,
    prune_checkpoints,
    require_whole,
    step_of,
    whole_folder,
)
from ernie_tiny.training.frozen import parts_without_gradient
from ernie_tiny.training.network import ClipEachModel, StageNetwork
from ernie_tiny.training.states import load_optimizer, load_weights, save_optimizer, save_weights, scaler_numbers
from ernie_tiny.training.steps import Shares, Step, draw_step
from ernie_tiny.training.streams import BatchStream

STATE_FILE, TRAINER_STATE_FILE = "state.json", "trainer_state.json"  # of a checkpoint; ours and the Trainer's
SCORE_FILE = "score.json"  # beside the best weights
SHOWN_IDS = 5
logger = logging.getLogger(__name__)


class StageTrainer(Trainer):
    """Trains a StageNetwork on a stream of batches.

    Args:
        score: Called for evaluation; gives scores by name, in percent. Their mean selects the best weights.
        log: Where progress goes; None on all but the main process.
        keep: Number of checkpoints that are kept.
        told_to_stop: Whether this process is to stop; looked at in each step.
    """

    control: TrainerControl
    optimizer: Any

    def __init__(
        self,
        network: StageNetwork,
        stream: BatchStream,
        teacher: Optional[Teacher],
        arguments: TrainingArguments,
        score: Callable[[], dict[str, float]],
        log: Optional[StageLog],
        keep: int,
        told_to_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(model=network, args=arguments, callbacks=[log] if log is not None else None)
        self.pop_callback(PrinterCallback)
        self._stop = StopWhenTold(self.is_to_stop)
        self.add_callback(self._stop)
        self.network, self.stream, self.teacher = network, stream, teacher
        self._score, self._log, self._keep = score, log, keep
        self._position = 0  # batches drawn since the stage began
        self._tokens = paddle.zeros([], "int64")  # a tensor: on a GPU a number would wait for every step
        self._told_to_stop, self._told = told_to_stop, paddle.zeros([], "int64")
        self._seconds_before, self._start = 0.0, time.perf_counter()
        self._step_batches: list[tuple[Batch, dict[str, Tensor]]] = []
        self._learning: set[str] = set()  # parameters with a gradient, and
        self._answered: set[Optional[str]] = set()  # tasks, None for masked tokens, of the first logging interval
        self._gradients_checked = False
        # From the folder of the weights, not from the checkpoint: a kill may fall between the two.
        self.best_score: Optional[float] = processes.from_main(self._read_best_score)
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
    def stopped(self) -> bool:
        """Whether training ended before its time, with a checkpoint, because it was told to."""
        return self._stop.stopped

    @property
    def progress(self) -> float:
        """The part of this stage's optimizer steps that is done, 0 to 1."""
        return self.state.global_step / max(1, self.state.max_steps)

    def create_optimizer(self, lr_scheduler: Any = None) -> Any:
        """AdamW without decay on biases and norms, as the Trainer makes it; each model is clipped by itself."""
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

    def train(self, resume_from_checkpoint: Optional[str] = None, **_: Any) -> None:
        """Trains up to the last step; from a checkpoint of that step the Trainer would make one more."""
        if resume_from_checkpoint is None or step_of(Path(resume_from_checkpoint)) < self.args.max_steps:
            super().train(resume_from_checkpoint=resume_from_checkpoint)
            return
        load_weights(self.network, Path(resume_from_checkpoint))
        self.state = TrainerState.load_from_json(str(Path(resume_from_checkpoint) / TRAINER_STATE_FILE))
        self._load_state(Path(resume_from_checkpoint))

    def get_train_dataloader(self) -> _Endless:
        return _Endless(self._draw)

    def _draw(self) -> Step:
        step = draw_step(self.stream, self.network.counts, self.args.gradient_accumulation_steps, self._told_to_stop())
        self._tokens, self._told = self._tokens + step.tokens, step.told
        return step

    def _prepare_inputs(self, inputs: tuple[Batch, Optional[Shares]]) -> tuple[Batch, Optional[Shares]]:
        return inputs

    def compute_loss(
        self, model: nn.Layer, inputs: tuple[Batch, Optional[Shares]], return_outputs: bool = False
    ) -> Tensor:
        batch, shares = inputs
        paddle.seed(_batch_seed(self.args.seed, self._position, self.args.process_index))
        self._position += 1
        signals = self.teacher(batch) if self.teacher is not None else None
        total, terms = model(batch, signals, self.progress, shares)
        terms = {name: value.detach() for name, value in terms.items()}
        for name, value in terms.items():
            self._interval_terms[name].append(value)
        self._step_batches.append((batch, terms))
        self._answered.add(batch.task if batch.masked_positions is None else None)
        return total

    def is_to_stop(self) -> bool:
        """Whether some process was told to stop: the same answer in all of them after the same step.

        Several processes agree when they draw a step, so that what comes later counts for the next step.
        """
        return self._told_to_stop() if processes.world_size() == 1 else bool(self._told)

    def _check_loss_valid(self, loss: Tensor) -> None:
        """Raises an InputError when the loss of the running logging interval is no longer finite.

        The Trainer calls it in each step between gradients and optimizer.
        """
        if not self._gradients_checked:
            self._learning |= {weight.name for weight in self.network.parameters() if weight.grad is not None}
        batches, self._step_batches = self._step_batches, []
        if math.isfinite(float(loss)):
            return
        found = [
            (batch, name, float(value))
            for batch, terms in batches
            for name, value in terms.items()
            if not math.isfinite(float(value))
        ]
        batch, name, value = found[0] if found else (batches[-1][0], "all together", float(loss))
        ids = ", ".join(map(repr, batch.example_ids[:SHOWN_IDS])) + (", ..." if batch.example_ids[SHOWN_IDS:] else "")
        checkpoint = latest_checkpoint(Path(self.args.output_dir))
        raise InputError(
            f"{self.args.output_dir}: step {self.state.global_step + 1}: the loss ({name}) is {value} for the batch of "
            f"{batch.task or 'general text'} with {ids}. Last good checkpoint: {checkpoint or 'none'}. Look at these "
            "examples. If they are sound, lower optim.learning_rate or raise optim.warmup_ratio, and give the run "
            "another output_dir."
        )

    def _frozen_parts(self) -> list[str]:
        """A sentence for each model of which some part gets no gradient although it should; looked for once."""
        if self._gradients_checked:
            return []
        self._gradients_checked, sentences = True, []
        for name, objective in self.network.objectives.items():
            answered = self._answered if objective.student_request.logits else set()
            frozen = parts_without_gradient(self.network.models[name], self._learning, answered)
            if frozen:
                sentences.append(
                    f"{self.args.output_dir}: no gradient reaches {', '.join(frozen)} of {name}: it "
                    "stays as it is. Look at what the objective reads of the model."
                )
        return sentences

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
        if self.do_grad_scaling:  # the schedule stands still in a step that is skipped
            values["scaler_skips"] = self.state.global_step - self.lr_scheduler.last_epoch
        if self._log is not None:
            self._log.record(self.state.global_step, values)
            self._log.warn(self._frozen_parts())
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
        if self.best_score is None or mean > self.best_score:
            self.best_score = mean
            processes.from_main(self._save_best)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, scores)
        self._forget_interval()
        return scores

    def _save_best(self) -> None:
        folder, step = Path(self.args.output_dir), self.state.global_step
        with whole_folder(checkpoint_folder(folder, step, BEST)) as best:
            save_weights(self.network, best)
            (best / SCORE_FILE).write_text(to_json(self.best_score), encoding="utf-8")
        prune_checkpoints(folder, keep=1, newest=step, name=BEST)

    def load_best(self) -> None:
        """Puts the weights of the best evaluation back, if there was one."""
        if self.best_score is not None:
            load_weights(self.network, checkpoints(Path(self.args.output_dir), BEST)[0])

    def _read_best_score(self) -> Optional[float]:
        found = checkpoints(Path(self.args.output_dir), BEST)
        if not found:
            return None
        require_whole(
            found[0],
            f"Remove {self.args.output_dir} to repeat the stage, or {found[0]} to go on without "
            "the best weights so far.",
        )
        return json.loads((found[0] / SCORE_FILE).read_text(encoding="utf-8"))

    def _save_checkpoint(self, model: nn.Layer, metrics: Optional[dict[str, float]] = None) -> None:
        processes.from_main(self._write_checkpoint)

    def _write_checkpoint(self) -> None:
        folder = Path(self.args.output_dir)
        state = {
            "position": self._position,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "stream": self.stream.state_dict(),
            "scheduler": self.lr_scheduler.state_dict(),
            "scaler": scaler_numbers(self.scaler) if self.do_grad_scaling else {},
        }
        with whole_folder(checkpoint_folder(folder, self.state.global_step)) as checkpoint:
            save_weights(self.network, checkpoint)
            save_optimizer(self.optimizer, self.network, checkpoint)
            (checkpoint / STATE_FILE).write_text(to_json(state), encoding="utf-8")
            self.state.save_to_json(str(checkpoint / TRAINER_STATE_FILE))
        prune_checkpoints(folder, self._keep, self.state.global_step)

    def _load_from_checkpoint(self, resume_from_checkpoint: Optional[str] = None) -> None:
        if resume_from_checkpoint is not None:
            load_weights(self.network, Path(resume_from_checkpoint))

    def _load_optimizer_and_scheduler(self, checkpoint: Optional[str]) -> None:
        if checkpoint is None:
            return
        load_optimizer(self.optimizer, self.network, Path(checkpoint))
        state = self._load_state(Path(checkpoint))
        self.lr_scheduler.set_state_dict(state["scheduler"])
        if self.do_grad_scaling and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])

    def _load_state(self, checkpoint: Path) -> dict[str, Any]:
        """Puts position, counts and stream back; returns what else the file holds with them."""
        state: dict[str, Any] = json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8"))
        self._position, self._tokens = state["position"], paddle.to_tensor(state["tokens"], dtype="int64")
        self._seconds_before = state["seconds"]
        self._forget_interval()
        self.stream.load_state_dict(state["stream"])
        return state


class _Endless:
    """The batches of steps, with their shares, as an iterable without a length."""

    def __init__(self, draw: Callable[[], Step]) -> None:
        self._draw = draw

    def __iter__(self) -> Iterator[tuple[Batch, Optional[Shares]]]:
        while True:
            yield from self._draw().parts


def _batch_seed(seed: int, position: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, position, rank]).generate_state(1)[0])
