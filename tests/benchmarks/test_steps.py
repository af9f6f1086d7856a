"""Steps of training are timed in two forms."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.tools import ROOT

RUN = """
name: mine
data:
  root: FOLDER
  tasks: {mine: {kind: classification, texts: [text], labels: ["0", "1"], files: {train: rows.jsonl, dev: rows.jsonl}}}
tokenizer: {vocab: FOLDER/vocab.txt}
models: {student: {num_hidden_layers: 1, hidden_size: 16, num_attention_heads: 2, max_position_embeddings: 128}}
stages:
  - name: tune
    train: student
    per_task: true
    data: {tasks: [mine]}
    objective: {hard: {}}
    optim: {learning_rate: 1.0e-3, epochs: 1, batch_size: 4}
report: {student: student@tune}
"""


def printed(script: str, *arguments: str) -> str:
    command = [sys.executable, f"benchmarks/speed/{script}", "--steps", "1", "--threads", "1", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_both_forms_of_the_relation_loss_are_timed() -> None:
    assert "step with log_softmax / step with relation_kl" in printed("distillation_step.py")


def test_both_forms_of_the_embeddings_are_timed(tmp_path: Path) -> None:
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", *(f"unused{number}" for number in range(20))]
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    rows = [{"text": text, "label": label} for text, label in (("a", "0"), ("b", "1"))] * 8
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "run.yaml").write_text(RUN.replace("FOLDER", str(tmp_path)), encoding="utf-8")
    lines = printed("used_rows.py", "-c", str(tmp_path / "run.yaml")).splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == ["whole table, 27 rows", "in use, 5 rows"]
    assert lines[2].startswith("whole table / in use: ")
