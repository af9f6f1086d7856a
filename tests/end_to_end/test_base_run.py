"""A run that goes on from another's stages: its models teach, start and are scored; nothing of it is made again."""

from __future__ import annotations

import json
from pathlib import Path

from tests.tools import tool

FIRST = """
name: first
data: {root: FOLDER/data, sample: true, corpora: {general: {files: [corpus/general.txt]}}}
tokenizer: {build_from: general, vocab_size: 600}
models:
  teacher: {num_hidden_layers: 2, hidden_size: 32, num_attention_heads: 2, max_position_embeddings: 128}
stages:
  - name: pretrain
    train: teacher
    data: {corpus: general, max_length: 32}
    objective: {mlm: {}}
    optim: {max_steps: 2, batch_size: 4}
  - name: tune
    train: teacher@pretrain
    per_task: true
    data: {tasks: [tnews], examples: 32}
    objective: {hard: {}}
    optim: {epochs: 1, batch_size: 8}
runtime: {threads: 1, visualdl: false}
"""
SECOND = """
name: second
base_run: FOLDER/first
data: {root: FOLDER/data, sample: true, corpora: {general: {files: [corpus/general.txt]}}}
models:
  student: {num_hidden_layers: 1, hidden_size: 16, num_attention_heads: 2, max_position_embeddings: 128}
stages:
  - name: distil
    train: student
    teacher: teacher@tune
    per_task: true
    data: {tasks: [tnews], examples: 32}
    objective: {soft: {}}
    optim: {epochs: 1, batch_size: 8}
report: {teacher: teacher@tune, student: student@distil, examples: 20}
runtime: {threads: 1, visualdl: false}
"""


def train(folder: Path, name: str, config: str) -> None:
    (folder / f"{name}.yaml").write_text(config.replace("FOLDER", str(folder)), encoding="utf-8")
    tool("train", "-c", f"{folder}/{name}.yaml", "-o", f"output_dir={folder}/{name}")


def test_a_run_goes_on_from_another(tmp_path: Path) -> None:
    train(tmp_path, "first", FIRST)
    before = sorted(path for path in (tmp_path / "first").rglob("*") if path.is_file())
    train(tmp_path, "second", SECOND)
    assert sorted(path for path in (tmp_path / "first").rglob("*") if path.is_file()) == before
    assert [folder.name for folder in (tmp_path / "second/stages").iterdir()] == ["distil"]
    assert not (tmp_path / "second/corpora").exists()  # only the base's stage trains on general text
    vocabularies = [(tmp_path / name / "tokenizer/vocab.txt").read_bytes() for name in ("first", "second")]
    assert vocabularies[0] == vocabularies[1]
    results = json.loads((tmp_path / "second/results.json").read_text(encoding="utf-8"))
    assert [(model["reference"], list(model["main"])) for model in results["models"]] == [
        ("teacher@tune", ["tnews"]),
        ("student@distil", ["tnews"]),
    ]
