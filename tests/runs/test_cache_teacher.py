"""A teacher's cache that is written ahead of its stage is the one that the stage reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ernie_tiny.config.load import load_config
from ernie_tiny.distill.teacher import LiveTeacher
from ernie_tiny.errors import InputError
from ernie_tiny.runs.pipeline import cache_teacher
from ernie_tiny.training.interruption import Interruption
from ernie_tiny.training.stage import run_stage
from ernie_tiny.training.workspace import Workspace

CONFIG = """
name: tiny
tokenizer: {build_from: general, vocab_size: 60}
runtime: {visualdl: false}
models:
  teacher: {num_hidden_layers: 1, hidden_size: 8, num_attention_heads: 2, max_position_embeddings: 16}
  student: {num_hidden_layers: 1, hidden_size: 4, num_attention_heads: 2, max_position_embeddings: 16}
data:
  tasks:
    mine: &task
      kind: classification
      files: {train: [train.jsonl], dev: [dev.jsonl]}
      texts: [text]
      labels: [a, b]
      max_length: 16
    yours: *task
  corpora: {general: {files: [general.txt]}}
stages:
  - name: learn
    train: teacher
    per_task: true
    data: {tasks: [mine, yours]}
    objective: {hard: {}}
    optim: {epochs: 1, batch_size: 4}
  - name: TSD
    train: student
    teacher: teacher@learn
    per_task: true
    data: {tasks: [mine, yours]}
    cache: {precision: float32}
    objective: {soft: {}, hidden: {}, hard: {}}
    optim: {epochs: 2, batch_size: 4}
"""
TEXT = "今天北京的天气很好我们去公园看花"


def load(folder: Path, *overrides: str):
    folder.joinpath("run.yaml").write_text(CONFIG, encoding="utf-8")
    folder.joinpath("general.txt").write_text(f"{TEXT}\n" * 5, encoding="utf-8")
    for number, split in enumerate(("train", "dev")):
        rows = [{"text": TEXT[n : n + 5 + number], "label": "ab"[n % 2]} for n in range(8)]
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        folder.joinpath(f"{split}.jsonl").write_text(lines, encoding="utf-8")
    return load_config(folder / "run.yaml", [f"data.root={folder}", f"output_dir={folder}/run", *overrides])


def run(folder: Path, name: str) -> None:
    workspace = Workspace(load(folder))
    for task in ("mine", "yours"):
        run_stage(workspace, workspace.run.stage(name), task, Interruption())


def test_training_after_it_never_runs_the_teacher(tmp_path, monkeypatch, caplog):
    run(tmp_path, "learn")
    cache_teacher(load(tmp_path), "TSD")
    for task in ("mine", "yours"):
        assert {path.name for path in (tmp_path / "run" / "stages" / "TSD" / task).iterdir()} == {"teacher_cache"}

    def forbidden(*_):
        raise AssertionError("the teacher was run")

    monkeypatch.setattr(LiveTeacher, "__call__", forbidden)
    cache_teacher(load(tmp_path), "TSD")  # what is there stays
    run(tmp_path, "TSD")
    caplog.clear()
    with caplog.at_level("INFO"):
        cache_teacher(load(tmp_path), "TSD")
    assert "TSD/mine: is finished and needs no cache" in caplog.text
    run(tmp_path, "learn")


def test_without_the_cache_the_teacher_would_be_run(tmp_path, monkeypatch):
    run(tmp_path, "learn")
    calls = []
    monkeypatch.setattr(LiveTeacher, "__call__", lambda *_: calls.append(1) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, "TSD")
    assert calls


@pytest.mark.parametrize(
    ("overrides", "name", "message"),
    [
        ((), "TSD", r"teacher@learn: that stage is not finished \(.*stages/learn/mine/model is not there\)"),
        ((), "TDS", "--stage TDS: tiny has no such stage. Did you mean 'TSD'"),
        ((), "learn", "stages.learn.teacher: is missing"),
        (("stages.TSD.cache=null",), "TSD", "stages.TSD.cache: is missing"),
    ],
)
def test_what_cannot_be_cached_is_refused(overrides, name, message, tmp_path):
    with pytest.raises(InputError, match=message):
        cache_teacher(load(tmp_path, *overrides), name)
