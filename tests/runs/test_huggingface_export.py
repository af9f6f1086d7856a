"""Which of a run's models become folders of transformers, and with which length."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ernie_tiny.config import load_config
from ernie_tiny.errors import InputError
from ernie_tiny.models.backbone import build_encoder
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.runs.huggingface_export import export_for_transformers
from ernie_tiny.training.workspace import Workspace
from tests.shapes import TINY

CONFIG = """
name: toy
models: {student: {num_hidden_layers: 1, hidden_size: 16, num_attention_heads: 2, max_position_embeddings: 64}}
data:
  tasks:
    one: &task {kind: classification, texts: [text], labels: [a, b], files: {train: [a.jsonl], dev: [a.jsonl]}}
    two: *task
  corpora: {general: {files: [a.txt]}}
stages:
  - {name: general, train: student, data: {corpus: general, max_length: 24}, objective: {mlm: {}},
     optim: {max_steps: 1, batch_size: 2}}
  - {name: both, train: student@general, data: {tasks: [one, two], max_length: 16}, objective: {hard: {}},
     optim: {max_steps: 1, batch_size: 2}}
  - {name: apart, train: student@general, per_task: true, data: {tasks: [one, two], max_length: 16},
     objective: {hard: {}}, optim: {max_steps: 1, batch_size: 2}}
"""


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n今\n天\n", encoding="utf-8")
    (tmp_path / "run.yaml").write_text(CONFIG, encoding="utf-8")
    run = load_config(tmp_path / "run.yaml", [f"tokenizer.vocab={tmp_path}/vocab.txt", f"output_dir={tmp_path}/run"])
    model = MultiTaskModel(build_encoder("bert", {**TINY, "max_position_embeddings": 64}))
    monkeypatch.setattr(Workspace, "model", lambda self, reference, task=None: model)
    return Workspace(run)


@pytest.mark.parametrize(("reference", "length"), [("student@general", 24), ("student@both", 16)])
def test_a_stages_one_encoder_is_written_bare(
    reference: str, length: int, workspace: Workspace, tmp_path: Path
) -> None:
    assert export_for_transformers(workspace, reference, None, tmp_path / "out", None) == "AutoModel"
    settings = json.loads((tmp_path / "out/tokenizer_config.json").read_text(encoding="utf-8"))
    assert settings["model_max_length"] == length
    assert (tmp_path / "out/model.safetensors").is_file()


def test_of_encoders_a_task_none_is_taken_for_the_one(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"student@apart: has one encoder a task \(one, two\)\. Name a stage"):
        export_for_transformers(workspace, "student@apart", None, tmp_path / "out", None)
    with pytest.raises(InputError, match="write model@stage; stages of this run: general, both, apart"):
        export_for_transformers(workspace, "student@gone", None, tmp_path / "out", None)
    assert not (tmp_path / "out").exists()
