"""A stage that trains in a second: a small model on batches of random tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np
import paddle

from ernie_tiny.batch import Batch
from ernie_tiny.config.schema import HardTerm, ObjectiveConfig, OptimConfig, RuntimeConfig
from ernie_tiny.distill.objective import Objective
from ernie_tiny.distill.terms import side_of
from ernie_tiny.kind_facts import ROW
from ernie_tiny.kinds.classification import CLASSIFICATION
from ernie_tiny.models.backbone import build_encoder
from ernie_tiny.models.forms import HeadSpec
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.training.callbacks import StageLog
from ernie_tiny.training.checkpoint import latest_checkpoint
from ernie_tiny.training.curves import StageCurves
from ernie_tiny.training.events import EventLog
from ernie_tiny.training.loop import LoopSettings, StageLoop
from ernie_tiny.training.network import StageNetwork

VOCABULARY = 40


class Stream:
    """Endless batches that follow from their number."""

    def __init__(self) -> None:
        self.position = 0

    def next_batch(self) -> Batch:
        random = np.random.default_rng(self.position)
        self.position += 1
        ids = random.integers(1, VOCABULARY, (4, 6))
        names = tuple(f"{self.position - 1}-{row}" for row in range(4))
        return Batch("topic", names, ids, np.zeros_like(ids), np.ones_like(ids), labels=random.integers(0, 3, 4))

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.position = state["position"]


class Stopped(Exception):
    """Stands for a killed process."""


class StoppingStream(Stream):
    """Breaks off at a batch."""

    def __init__(self, stop: int) -> None:
        super().__init__()
        self.stop = stop

    def next_batch(self) -> Batch:
        if self.position == self.stop:
            raise Stopped
        return super().next_batch()


def build(
    folder: Path,
    stream: Stream,
    score: Callable[[], dict[str, float]] = dict,
    told_to_stop: Callable[[], bool] = lambda: False,
    curves: Optional[StageCurves] = None,
    steps: int = 6,
    seed: int = 5,
    accumulate: int = 1,
    evaluate_every: Optional[int] = None,
    part_labelled: bool = False,
    dropout: float = 0.1,
    max_grad_norm: float = 1.0,
    weight_decay: float = 0.0,
    used_rows: Optional[np.ndarray] = None,
    **runtime: Any,
) -> StageLoop:
    """A loop of six steps, with a head of which no batch makes use; `runtime` is of RuntimeConfig.

    `used_rows`: token ids whose embeddings alone are trained.
    """
    paddle.seed(1)
    shape = {
        "num_hidden_layers": 2,
        "hidden_size": 16,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 8,
        "type_vocab_size": 2,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
    }
    heads = [HeadSpec(name, ROW, 3, ("a", "b", "c")) for name in ("topic", "never drawn")]
    model = MultiTaskModel(build_encoder("ernie", shape), heads)
    kinds = dict.fromkeys(model.head_specs, CLASSIFICATION)
    objective = Objective(ObjectiveConfig(hard=HardTerm(0.5)), side_of(model), kinds=kinds)
    network = StageNetwork({"student": model}, {"student": objective})
    if used_rows is not None:
        network.train_used_rows(used_rows)
    optim = OptimConfig(
        learning_rate=1e-2,
        warmup_ratio=0.3,
        weight_decay=weight_decay,
        accumulate=accumulate,
        max_grad_norm=max_grad_norm,
    )
    options = RuntimeConfig(**{"logging_steps": 2, "save_steps": 3, **runtime})
    settings = LoopSettings(folder, steps, seed, optim, options, evaluate_every, part_labelled=part_labelled)
    return StageLoop(network, stream, None, settings, score, StageLog("stage", EventLog(folder), curves), told_to_stop)


def run(folder: Path, stream: Stream, **options: Any) -> dict[str, np.ndarray]:
    """The weights after training from the folder's last checkpoint, as a process of its own would."""
    with paddle.utils.unique_name.guard():
        loop = build(folder, stream, **options)
        loop.train(latest_checkpoint(folder))
        assert loop.step == 6
        return weights(loop)


def weights(loop: StageLoop) -> dict[str, np.ndarray]:
    return {name: value.numpy().copy() for name, value in loop.network.state_dict().items()}


def assert_equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)
