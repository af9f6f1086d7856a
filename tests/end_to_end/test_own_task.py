"""A user's own TSV files, from YAML alone to a deployed model's answers: no Python is written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools import tool

GOOD, BAD = "很好喜欢满意不错推荐", "太差失望退货难用糟糕"
CONFIG = """
name: own
output_dir: {folder}/run
data:
  root: {folder}/data
  tasks:
    reviews:
      kind: classification
      texts: [text_a]
      labels: ["0", "1"]
      id_field: qid
      file_format: tsv
      files: {{train: [reviews/train.tsv], dev: [reviews/dev.tsv]}}
      max_length: 24
tokenizer: {{vocab: {folder}/data/vocab.txt}}
models:
  student: {{num_hidden_layers: 1, hidden_size: 32, num_attention_heads: 2, max_position_embeddings: 128,
            hidden_dropout_prob: 0.0}}
stages:
  - name: finetune
    train: student
    per_task: true
    data: {{tasks: [reviews]}}
    objective: {{hard: {{weight: 1.0}}}}
    optim: {{learning_rate: 5.0e-3, epochs: 3, batch_size: 16}}
report: {{student: student@finetune, others: {{the same again: student@finetune}}}}
export: {{model: student@finetune}}
runtime: {{threads: 1, visualdl: false}}
"""


def reviews(start: int, count: int) -> Iterator[tuple[int, str]]:
    """Label and text, in turn good and bad."""
    for number in range(start, start + count):
        words = (BAD, GOOD)[number % 2]
        yield number % 2, "".join(words[(number * step) % len(words)] for step in (1, 3, 7, 9)) + '"这"'


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    data = folder / "data" / "reviews"
    data.mkdir(parents=True)
    train = "".join(f"{label}\t{text}\n" for label, text in reviews(0, 160))
    dev = "".join(f"q{number}\t{label}\t{text}\n" for number, (label, text) in enumerate(reviews(1000, 40)))
    (data / "train.tsv").write_text(f"label\ttext_a\n{train}", encoding="utf-8")
    (data / "dev.tsv").write_text(f"qid\tlabel\ttext_a\n{dev}", encoding="utf-8")
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", '"', "这", *dict.fromkeys(GOOD + BAD)]
    (folder / "data" / "vocab.txt").write_text("\n".join(tokens), encoding="utf-8")
    (folder / "own.yaml").write_text(CONFIG.format(folder=folder), encoding="utf-8")
    tool("train", "-c", str(folder / "own.yaml"))
    return folder / "run"


def test_the_task_is_learned_scored_exported_and_answered_alike(run: Path, tmp_path: Path) -> None:
    model, again = json.loads((run / "results.json").read_text(encoding="utf-8"))["models"]
    assert model["scores"]["reviews"]["accuracy"] > 90
    assert (again["role"], again["main"]) == ("the same again", model["main"])
    assert "the same again" in (run / "report.html").read_text(encoding="utf-8")

    printed = tool("evaluate", "--run", str(run), "--models", "student@finetune", "--output", str(tmp_path)).stdout
    assert f"40 examples: accuracy {model['scores']['reviews']['accuracy']:.2f}" in printed
    expected = [json.loads(line) for line in (tmp_path / "student@finetune/reviews.jsonl").open(encoding="utf-8")]
    assert [item["id"] for item in expected] == [f"q{number}" for number in range(40)]
    (record,) = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    low, high = record["intervals"]["accuracy"]
    assert low <= record["scores"]["accuracy"] <= high
    assert sum(map(sum, record["confusion"]["counts"])) == 40 and record["confusion"]["labels"] == ["0", "1"]

    lines = [json.dumps({"qid": f"q{number}", "text_a": text}) for number, (_, text) in enumerate(reviews(1000, 40))]
    answered = tool("infer", "--model", str(run / "export" / "reviews"), input="\n".join(lines)).stdout
    found = [json.loads(line) for line in answered.splitlines()]
    assert [(item["id"], item["answer"]) for item in found] == [(item["id"], item["answer"]) for item in expected]
