"""What a stage makes ready before its first step: lengths, batches, which weights decay."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import paddle
import pytest

from ernie_tiny.config.load import load_config
from ernie_tiny.config.schema import OptimConfig
from ernie_tiny.distill.terms import NOTHING
from ernie_tiny.errors import InputError
from ernie_tiny.training import stage as stages
from ernie_tiny.training import teachers
from ernie_tiny.training.optimizer import make_optimizer
from ernie_tiny.training.stage import prepare_stage
from ernie_tiny.training.teachers import Lesson, connect_teacher
from ernie_tiny.training.workspace import Workspace

CONFIG = """
name: tiny
tokenizer: {build_from: general, vocab_size: 60}
models:
  normal: {num_hidden_layers: 1, hidden_size: 8, num_attention_heads: 2, max_position_embeddings: 16}
data:
  tasks:
    bias: &mine
      {kind: classification, texts: [text], labels: [a, b], max_length: 8, files: {train: [a.jsonl], dev: [a.jsonl]}}
    long: {<<: *mine, max_length: 32}
  corpora: {general: {files: [general.txt]}}
stages:
  - name: learn
    train: normal
    per_task: true
    data: {tasks: [bias, long]}
    objective: {hard: {}}
    optim: {epochs: 1, batch_size: 2}
    task_settings: {long: {max_length: 16}}
  - name: relate
    train: normal
    teacher: normal
    data: {corpus: general, max_length: 16}
    objective: {sample_relation: {relation_heads: 2}}
    optim: {max_steps: 1, batch_size: 2}
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "run.yaml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "general.txt").write_text("今天天气很好\n" * 20, encoding="utf-8")
    rows = [{"text": "今天", "label": label} for label in "abab"]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return Workspace(load_config(tmp_path / "run.yaml", [f"data.root={tmp_path}", f"output_dir={tmp_path}/run"]))


def test_a_task_of_a_stage_is_as_long_as_its_own_settings_say(workspace: Workspace, tmp_path: Path) -> None:
    stage = workspace.run.stage("learn")
    for task in stage.data.tasks:  # without its settings `long` would not fit the 16 positions
        assert prepare_stage(workspace, stage.of_task(task), task, tmp_path).steps == 2


def test_the_rows_in_use_are_those_of_training_and_of_what_is_scored(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(CONFIG.replace("dev: [a.jsonl]", "dev: [dev.jsonl]"), encoding="utf-8")
    (tmp_path / "general.txt").write_text("".join(map(chr, range(0x4E00, 0x4E28))) * 20, encoding="utf-8")
    for name, text in (("a", "一丁"), ("dev", "一七")):  # U+4E00, U+4E01, U+4E03
        rows = [{"text": text, "label": label} for label in "ab"]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    files = [f"data.root={tmp_path}", f"output_dir={tmp_path}/run"]

    def rows(*overrides: str) -> int:
        workspace = Workspace(load_config(tmp_path / "run.yaml", [*files, *overrides]))
        network = prepare_stage(workspace, workspace.run.stage("learn").of_task("bias"), "bias", tmp_path).network
        return network.model.encoder.embeddings.word_embeddings.weight.shape[0]

    assert rows() == 5  # [PAD] [CLS] [SEP] 一 丁
    assert rows("stages.learn.select.every=1") == 6  # and 七


def test_one_input_a_process_cannot_be_compared(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages.processes, "world_size", lambda: 2)
    with pytest.raises(InputError, match="2 on 2 processes are less than two in each. Make batches of 4 or more"):
        prepare_stage(workspace, workspace.run.stage("relate"), None, tmp_path)


def test_weights_decay_whatever_models_and_tasks_are_called(workspace: Workspace, tmp_path: Path) -> None:
    stage = workspace.run.stage("learn").of_task("bias")
    network = prepare_stage(workspace, stage, "bias", tmp_path).network
    for parameter in network.parameters():
        parameter.set_value(paddle.ones_like(parameter))
    optimizer, _ = make_optimizer(OptimConfig(learning_rate=0.5, weight_decay=0.5, warmup_ratio=0.0), 1, network)
    for parameter in network.parameters():
        parameter.grad = paddle.zeros_like(parameter)
    optimizer.step()
    decayed = {name for name, parameter in network.named_parameters() if float(parameter.max()) < 1}
    kept = {name for name, _ in network.named_parameters()} - decayed
    assert any("heads.bias" in name and name.endswith("weight") for name in decayed)
    assert all(name.endswith("bias") or "norm" in name.split("normal")[-1] for name in kept)
    assert not any(name.endswith("bias") for name in decayed) and len(kept) > len(decayed) > 5


# ---- teachers


def test_inputs_longer_than_a_teacher_are_refused(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a teacher by name nothing is known before it is there."""
    short = dataclasses.replace(workspace.run.models["normal"], max_position_embeddings=8)
    monkeypatch.setitem(workspace.run.models, "short", short)
    stage = dataclasses.replace(workspace.run.stage("relate"), teacher="short")
    with pytest.raises(InputError, match="inputs of 16 tokens do not fit the 8 positions of short"):
        prepare_stage(workspace, stage, None, tmp_path)


def test_every_teacher_on_an_engine_is_compared_on_inputs_of_its_own(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One a task on a batch of its task, which need not be the next one."""
    stage = dataclasses.replace(workspace.run.stage("relate"), teacher=None, ensemble={"apart": 0.5, "whole": 0.5})
    taught: Any = {"apart": {"long": "A", "bias": "B"}, "whole": {"": "C"}}
    compared: list[tuple[str, str]] = []
    monkeypatch.setattr(teachers, "teacher_engine", lambda *_: None)
    monkeypatch.setattr(teachers, "frozen_teacher", lambda model, *_: model)
    monkeypatch.setattr(
        teachers,
        "check_agreement",
        lambda title, source, model, request, batch, _: compared.append((source + model, batch.task)),
    )
    connect_teacher(Lesson(workspace, stage, "relate", tmp_path, taught, NOTHING, Tasks("bias", "bias", "long"), 1))
    assert compared == [("AA", "long"), ("BB", "bias"), ("CC", "bias")]


class Tasks:
    """A stream of batches of these tasks, of which no more is known."""

    def __init__(self, *tasks: str) -> None:
        self.tasks, self.position = tasks, 0

    def next_batch(self) -> Any:
        self.position += 1
        return SimpleNamespace(task=self.tasks[self.position - 1])

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.position = state["position"]
