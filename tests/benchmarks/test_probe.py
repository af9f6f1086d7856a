"""A linear probe of frozen encoders."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import paddle

from benchmarks.quality.real_teacher.probe import halfway
from tests.tools import ROOT

RUN = """
name: mine
data:
  root: FOLDER
  tasks: {mine: {kind: classification, texts: [text], labels: ["0", "1"], max_length: 8,
                 files: {train: train.jsonl, dev: dev.jsonl}}}
tokenizer: {vocab: FOLDER/vocab.txt}
models:
  student: {num_hidden_layers: 1, hidden_size: 16, num_attention_heads: 2, max_position_embeddings: 8}
  other: {num_hidden_layers: 1, hidden_size: 16, num_attention_heads: 2, max_position_embeddings: 8}
stages:
  - name: tune
    train: student
    data: {tasks: [mine]}
    objective: {hard: {}}
    optim: {learning_rate: 1.0e-3, epochs: 1, batch_size: 4}
report: {student: student@tune}
"""


def test_what_a_token_says_is_read_and_what_no_token_says_is_not(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(RUN.replace("FOLDER", str(tmp_path)), encoding="utf-8")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcd"]
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    train = [{"text": text, "label": str(number % 2)} for number, text in enumerate(("a c", "b c", "a d d", "b d d"))]
    dev = [
        {"text": "c a d", "label": "0"},
        {"text": "d b", "label": "1"},
        {"text": "c", "label": "0"},
        {"text": "c", "label": "1"},
    ]
    for name, rows in (("train", train), ("dev", dev)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    command = [sys.executable, "benchmarks/quality/real_teacher/probe.py", "--run", str(tmp_path), "--tasks", "mine"]
    command += ["--models", "student", "--halfway", "student", "other"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "| student | 0 | 75.00 |" in done.stdout and "| student and other, halfway | 0 | 75.00 |" in done.stdout


def test_halfway_is_the_mean_of_two_models() -> None:
    ends = [SimpleNamespace(encoder=paddle.nn.Linear(1, 1)) for _ in range(2)]
    for end, value in zip(ends, (1.0, 4.0)):
        end.encoder.set_state_dict({"weight": paddle.full([1, 1], value), "bias": paddle.full([1], -value)})
    found = halfway(*ends).encoder
    assert (float(found.weight), float(found.bias)) == (2.5, -2.5)
