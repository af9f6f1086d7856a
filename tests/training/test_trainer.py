"""Training is deterministic, and a resumed run ends where the undisturbed one does, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import numpy as np
import paddle
import pytest
from paddlenlp.trainer import TrainingArguments

from ernie_tiny.batch import Batch
from ernie_tiny.config.schema import HardTerm, ObjectiveConfig
from ernie_tiny.distill.objective import Objective
from ernie_tiny.distill.terms import side_of
from ernie_tiny.models.backbone import build_encoder
from ernie_tiny.models.multitask import HeadSpec, MultiTaskModel
from ernie_tiny.training.callbacks import EventLog, StageLog, read_events
from ernie_tiny.training.checkpoint import latest_checkpoint
from ernie_tiny.training.network import StageNetwork
from ernie_tiny.training.trainer import StageTrainer

VOCABULARY = 40


class Stream:
    """Endless batches that follow from their number."""

    def __init__(self) -> None:
        self.position = 0

    def next_batch(self) -> Batch:
        random = np.random.default_rng(self.position)
        self.position += 1
        ids = random.integers(1, VOCABULARY, (4, 6))
        return Batch("topic", ("",) * 4, ids, np.zeros_like(ids), np.ones_like(ids), labels=random.integers(0, 3, 4))

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


def build(folder: Path, stream: Stream, score: Callable[[], dict[str, float]] = dict, **options: Any) -> StageTrainer:
    paddle.seed(1)
    shape = {
        "num_hidden_layers": 2,
        "hidden_size": 16,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 8,
        "type_vocab_size": 2,
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
    }
    model = MultiTaskModel(build_encoder("ernie", shape), [HeadSpec("topic", "classification", ("a", "b", "c"))])
    objective = Objective(ObjectiveConfig(hard=HardTerm(0.5)), side_of(model))
    network = StageNetwork({"student": model}, {"student": objective})
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "max_steps": 6,
        "per_device_train_batch_size": 1,
        "learning_rate": 1e-2,
        "warmup_ratio": 0.3,
        "logging_steps": 2,
        "save_strategy": "steps",
        "save_steps": 3,
        "device": "cpu",
        "seed": 5,
        "disable_tqdm": True,
        "report_to": [],
        "remove_unused_columns": False,
        "ignore_data_skip": True,
        **options,
    }
    log = StageLog("stage", EventLog(folder), None)
    return StageTrainer(network, stream, None, TrainingArguments(**settings), score, log, keep=2)


def weights(trainer: StageTrainer) -> dict[str, np.ndarray]:
    return {name: value.numpy().copy() for name, value in trainer.network.state_dict().items()}


def run(folder: Path, stream: Stream, **options: Any) -> dict[str, np.ndarray]:
    """The weights after training from the folder's last checkpoint, as a process of its own would."""
    with paddle.utils.unique_name.guard():
        trainer = build(folder, stream, **options)
        checkpoint = latest_checkpoint(folder)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        assert trainer.state.global_step == 6
        return weights(trainer)


def assert_equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_repeated_and_resumed_runs_end_alike(accumulate: int, tmp_path: Path) -> None:
    options = {"gradient_accumulation_steps": accumulate}
    whole = run(tmp_path / "whole", Stream(), **options)
    assert_equal(whole, run(tmp_path / "again", Stream(), **options))
    with pytest.raises(Stopped):  # in step 5, two steps after the checkpoint
        run(tmp_path / "cut", StoppingStream(4 * accumulate), **options)
    checkpoint = latest_checkpoint(tmp_path / "cut")
    assert checkpoint is not None and checkpoint.name == "checkpoint-3"
    resumed = Stream()
    assert_equal(whole, run(tmp_path / "cut", resumed, **options))
    assert resumed.position == 6 * accumulate


def test_dropout_is_at_work_and_follows_the_seed(tmp_path: Path) -> None:
    one, other = run(tmp_path / "one", Stream()), run(tmp_path / "other", Stream(), seed=6)
    assert any((one[name] != other[name]).any() for name in one)  # same weights, same batches, other dropout


def test_the_best_weights_are_put_back(tmp_path: Path) -> None:
    seen: list[dict[str, np.ndarray]] = []
    results = iter([10.0, 30.0, 20.0])
    with paddle.utils.unique_name.guard():

        def score() -> dict[str, float]:
            seen.append(weights(trainer))
            return {"topic": next(results)}

        trainer = build(tmp_path, Stream(), score, evaluation_strategy="steps", eval_steps=2)
        trainer.train()
    assert trainer.state.best_metric == 30.0
    assert (weights(trainer)["models.student.heads.topic.dense.weight"] != seen[1]["models.student.heads.topic.dense.weight"]).any()
    trainer.load_best()
    assert_equal(seen[1], weights(trainer))
    assert [event["topic"] for event in read_events(tmp_path) if event["event"] == "scores"] == [10.0, 30.0, 20.0]


def test_the_log_holds_terms_and_speed(tmp_path: Path) -> None:
    run(tmp_path, Stream())
    logged = [event for event in read_events(tmp_path) if event["event"] == "log"]
    assert [event["step"] for event in logged] == [2, 4, 6]
    for event in logged:
        assert event["weighted/hard"] == pytest.approx(0.5 * event["raw/hard"])
        assert event["loss"] == pytest.approx(event["weighted/hard"], abs=1e-5)
        assert event["tokens_per_second"] > 0
        assert "teacher_tokens_per_second" not in event  # there is none
