"""A kind that the project does not know, of another package, goes all the way: YAML, training, export, answers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from sklearn import metrics as sklearn

from ernie_tiny.batch import Batch
from ernie_tiny.distill.losses import cross_entropy
from tests import tools
from tests.end_to_end.multi_label import MULTI_LABEL
from tests.end_to_end.tiny import results
from tests.tools import ROOT

WORDS = {"天气": "风雨晴雪", "食物": "米面肉菜", "体育": "球跑跳泳"}
CONFIG = """
name: topics
output_dir: {folder}/run
seed: 3
data:
  root: {folder}/data
  tasks:
    topics:
      kind: multi_label
      texts: [text]
      label_field: labels
      labels: [天气, 食物, 体育]
      files: {{train: [train.jsonl], unlabelled: [more.jsonl], dev: [dev.jsonl]}}
      max_length: 16
tokenizer: {{vocab: {folder}/data/vocab.txt}}
models:
  teacher: &shape {{num_hidden_layers: 1, hidden_size: 64, num_attention_heads: 2, max_position_embeddings: 32,
                   hidden_dropout_prob: 0.0, attention_probs_dropout_prob: 0.0}}
  student: {{<<: *shape, hidden_size: 32}}
stages:
  - name: teach
    train: teacher
    data: {{tasks: [topics]}}
    objective: {{hard: {{weight: 1.0}}}}
    optim: {{learning_rate: 2.0e-3, epochs: 25, batch_size: 16}}
  - name: distil
    train: student
    teacher: teacher@teach
    data: {{tasks: [topics]}}
    objective: {{hard: {{weight: 1.0}}, soft: {{weight: 1.0, temperature: 2.0}}, logit_mse: {{weight: 0.5}}}}
    optim: {{learning_rate: 2.0e-3, epochs: 25, batch_size: 16}}
    select: {{every: 50}}
report: {{teacher: teacher@teach, student: student@distil}}
export: {{model: student@distil}}
runtime: {{threads: 1, visualdl: false, save_steps: 100}}
"""


def records(seed: int, count: int) -> Iterator[dict]:
    """A text has two characters of each of its labels, and two that say nothing."""
    draw = np.random.default_rng(seed)
    for _ in range(count):
        labels = [name for name in WORDS if draw.random() < 0.4]
        characters = [
            *(character for name in labels for character in draw.choice(list(WORDS[name]), 2)),
            *draw.choice(list("甲乙丙丁"), 2),
        ]
        yield {"text": "".join(draw.permutation(characters)), "labels": labels}


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder / "site"), str(ROOT)])}


def tool(folder: Path, name: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """With the package that has the kind."""
    return tools.tool(name, *arguments, env=environment(folder), **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data, the config, and the package that has the kind; the run is trained."""
    folder = tmp_path_factory.mktemp("topics")
    package = folder / "site" / "multi_label-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: multi-label\nVersion: 1.0\n", encoding="utf-8")
    entry = "[ernie_tiny.kinds]\nmulti_label = tests.end_to_end.multi_label:MULTI_LABEL\n"
    (package / "entry_points.txt").write_text(entry, encoding="utf-8")
    (folder / "data").mkdir()
    for split, seed, count in (("train", 1, 400), ("dev", 2, 60)):
        lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records(seed, count))
        (folder / "data" / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    texts = [{"text": record["text"]} for record in records(4, 100)]
    lines = "".join(json.dumps(text, ensure_ascii=False) + "\n" for text in texts)
    (folder / "data" / "more.jsonl").write_text(lines, encoding="utf-8")
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"".join(WORDS.values()), *"甲乙丙丁"]
    (folder / "data" / "vocab.txt").write_text("\n".join(tokens), encoding="utf-8")
    (folder / "topics.yaml").write_text(CONFIG.format(folder=folder), encoding="utf-8")
    tool(folder, "train", "-c", str(folder / "topics.yaml"))
    return folder


def test_a_label_is_a_binary_cross_entropy() -> None:
    logits = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    labels = np.array([[0, 1, 1], [0, 0, 0], [1, 1, 1], [1, 0, 0]])
    mask = np.ones((4, 2), np.int64)
    batch = Batch("topics", tuple("abcd"), mask, mask, mask, labels)
    table = MULTI_LABEL.decisions(paddle.to_tensor(logits), batch)
    expected = sklearn.log_loss(labels.reshape(-1), 1 / (1 + np.exp(-logits.reshape(-1).astype(np.float64))))
    assert float(cross_entropy(table.logits, paddle.to_tensor(table.labels))) == pytest.approx(expected, rel=1e-5)
    assert MULTI_LABEL.count(batch) == table.logits.shape[0] == 12


def test_the_plan_names_the_kind_and_without_its_package_it_is_refused(folder: Path) -> None:
    arguments = ["-c", str(folder / "topics.yaml"), "--check"]
    assert (
        "topics       multi_label, 3 labels, 16 tokens: 400 train, 100 unlabelled, 60 dev"
        in tool(folder, "train", *arguments).stdout
    )
    done = tools.tool("train", *arguments, code=2)
    assert "task topics: kind = 'multi_label'. Did you mean 'multiple_choice'?" in done.stderr


def test_it_is_learned_scored_and_reported(folder: Path) -> None:
    found = json.loads((folder / "run" / "results.json").read_text(encoding="utf-8"))
    scores = {model["role"]: model["scores"]["topics"]["micro_f1"] for model in found["models"]}
    assert found["stages"][1]["examples"] == {"topics": {"train": 400, "unlabelled": 100}}
    assert scores["teacher"] > 80 and scores["student"] > 80  # 57 is that of always giving all labels
    page = (folder / "run" / "report.html").read_text(encoding="utf-8")
    assert "topics" in page and f"{scores['student']:.2f}" in page
    assert "any of 3 labels" in (folder / "run" / "export" / "topics" / "README.md").read_text(encoding="utf-8")


def test_scores_are_those_of_scikit_learn_and_details_are_shown(folder: Path, tmp_path: Path) -> None:
    run = folder / "run"
    arguments = ["--run", str(run), "--models", "student@distil", "--output", str(tmp_path)]
    printed = tool(folder, "evaluate", *arguments).stdout
    (record,) = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    found = [json.loads(line)["answer"] for line in (tmp_path / "student@distil/topics.jsonl").open(encoding="utf-8")]
    right = [record["labels"] for record in records(2, 60)]
    arrays = [np.array([[name in labels for name in WORDS] for labels in answers]) for answers in (right, found)]
    expected = 100 * sklearn.f1_score(*arrays, average="micro")
    assert record["scores"] == pytest.approx({"micro_f1": expected})
    each = 100 * sklearn.f1_score(*arrays, average=None)
    assert [item["f1"] for item in record["by_label"]] == pytest.approx(list(each))
    assert f"label 食物  f1 {each[1]:.2f}" in printed


def test_an_exported_model_answers_as_the_trained_one(folder: Path) -> None:
    export = folder / "run" / "export" / "topics"
    texts = [record["text"] for record in records(2, 60)]
    lines = "\n".join(json.dumps({"text": text}, ensure_ascii=False) for text in texts)
    printed = tool(folder, "infer", "--model", str(export), input=lines).stdout
    answered = [json.loads(line) for line in printed.splitlines()]
    trained = folder / "run" / "predictions" / "student" / "topics.jsonl"
    expected = [json.loads(line) for line in trained.open(encoding="utf-8")]
    assert [item["answer"] for item in answered] == [item["answer"] for item in expected]
    assert np.allclose([item["scores"] for item in answered], [item["scores"] for item in expected], atol=1e-5)
    done = tool(
        folder, "export", "--run", str(folder / "run"), "--model", "student@distil", "--task", "topics",
        "--format", "huggingface", code=2,
    )  # fmt: skip
    assert "task topics: transformers has no class for the heads of the kind multi_label." in done.stderr


def test_a_killed_run_ends_at_the_bytes_of_the_undisturbed_one(folder: Path) -> None:
    killed = folder / "killed"
    arguments = ["-c", str(folder / "topics.yaml"), "-o", f"output_dir={killed}"]
    process = subprocess.Popen(
        [sys.executable, "tools/train.py", *arguments],
        cwd=ROOT, env=environment(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not list((killed / "stages" / "distil").glob("checkpoint-*")):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "stages" / "distil" / "result.json").exists()
    assert "continues from" in tool(folder, "train", *arguments).stderr
    expected, found = results(folder / "run"), results(killed)
    assert [name for name in expected if expected[name] != found.get(name)] == []
