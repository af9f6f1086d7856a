"""The rows N of docs/errors.md: numbers that go wrong while a run trains."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

import pytest

from ernie_tiny.config import RunConfig, load_config
from ernie_tiny.errors import InputError
from ernie_tiny.files import to_json
from ernie_tiny.runs.pipeline import run_pipeline
from ernie_tiny.runtime import run_tool

CONFIG = """\
name: toy
models: {student: {num_hidden_layers: 1, hidden_size: 8, num_attention_heads: 2, max_position_embeddings: 16}}
tokenizer: {vocab: VOCABULARY}
data:
  tasks:
    mine: {kind: classification, texts: [text], labels: [a, b], files: {train: [a.jsonl], dev: [a.jsonl]}}
stages:
  - name: first
    train: student
    data: {tasks: [mine], max_length: 8}
    objective: {hard: {}}
    optim: {max_steps: 4, batch_size: 2, warmup_ratio: 0}
runtime: {logging_steps: 1, save_steps: 0, visualdl: false}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n今\n天\n", encoding="utf-8")
    records = [{"id": f"row {n}", "text": "今天"[n % 2], "label": "ab"[n % 2]} for n in range(4)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    (tmp_path / "run.yaml").write_text(CONFIG.replace("VOCABULARY", str(tmp_path / "vocab.txt")), encoding="utf-8")
    return tmp_path / "run.yaml"


def load(path: Path, *overrides: str) -> RunConfig:
    return load_config(path, [f"data.root={path.parent}", f"output_dir={path.parent}/run", *overrides])


def test_a_loss_that_is_no_number(path: Path, says, capsys: pytest.CaptureFixture[str]) -> None:
    diverging = load(path, "stages.first.optim.learning_rate=1.0e+30", "stages.first.optim.max_grad_norm=1.0e+30")
    with pytest.raises(SystemExit):
        run_tool(lambda: run_pipeline(diverging))
    last = capsys.readouterr().err.rstrip("\n").rpartition("\n")[2]
    assert last.startswith("error: ")  # and not the rest of a progress bar: tools/search.py shows the last line
    says("N1", last)


def test_a_part_that_does_not_learn(path: Path, says, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    monkeypatch.setattr("ernie_tiny.training.watch.parts_without_gradient", lambda *_arguments: ["layer 0"])
    with caplog.at_level(logging.WARNING):
        run_pipeline(load(path))
    says("N2", caplog.text)
    assert caplog.text.count("no gradient reaches") == 1


def test_what_is_no_number_is_not_written(says) -> None:
    with pytest.raises(InputError) as caught:
        to_json({"id": "1", "answer": "a", "scores": (math.nan,)})
    says("N4", caught.value)
