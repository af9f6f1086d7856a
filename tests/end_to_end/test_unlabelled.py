"""A few labelled texts and many unlabelled ones, and a teacher whose answers lie in a file, from YAML alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ernie_tiny.config import load_config
from ernie_tiny.data.tokenizer import load_tokenizer
from ernie_tiny.evaluation.predict import predict
from ernie_tiny.kinds.ask import featurise
from ernie_tiny.kinds.read import read_split
from ernie_tiny.models.multitask import load_model
from ernie_tiny.training.events import read_events
from ernie_tiny.training.tasks import task_specs
from tests.end_to_end.conftest import KILLS, SEED
from tests.end_to_end.test_own_task import BAD, GOOD, reviews
from tests.end_to_end.tiny import Runs, assert_equal, run_in_trouble
from tests.tools import tool

CONFIG = """
name: unlabelled
data:
  root: {folder}
  tasks:
    reviews:
      kind: classification
      texts: [text_a]
      labels: ["0", "1"]
      file_format: tsv
      files: {{train: [train.tsv], unlabelled: [more.tsv, questions.jsonl], dev: [dev.tsv]}}
      max_length: 24
tokenizer: {{vocab: {folder}/vocab.txt}}
models:
  teacher: {{num_hidden_layers: 1, hidden_size: 32, num_attention_heads: 2, max_position_embeddings: 64,
            hidden_dropout_prob: 0.0}}
  student: {{num_hidden_layers: 1, hidden_size: 16, num_attention_heads: 2, max_position_embeddings: 64}}
stages:
  - name: finetune
    train: teacher
    per_task: true
    data: {{tasks: [reviews]}}
    objective: {{hard: {{}}}}
    optim: {{learning_rate: 1.0e-2, epochs: 6, batch_size: 8}}
  - name: distil
    train: student
    teacher: teacher@finetune
    per_task: true
    cache: {{precision: float32}}
    data: {{tasks: [reviews], examples: 30, unlabelled_examples: 50}}
    objective: {{soft: {{weight: 1.0, temperature: 2.0}}, hard: {{weight: 0.2}}}}
    optim: {{learning_rate: 5.0e-3, epochs: 2, batch_size: 8, accumulate: 2}}
report: {{teacher: teacher@finetune, student: student@distil}}
runtime: {{threads: 1, visualdl: false, save_steps: 2, logging_steps: 5}}
"""


@dataclass(frozen=True)
class Own:
    """As a Method of tiny.py: what tools/train.py is called with."""

    config: Path

    def arguments(self, folder: Path) -> list[str]:
        return ["-c", str(self.config), "-o", f"output_dir={folder}"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unlabelled")
    for name, start, count in (("train", 0, 40), ("dev", 1000, 20)):
        rows = "".join(f"{label}\t{text}\n" for label, text in reviews(start, count))
        (folder / f"{name}.tsv").write_text(f"label\ttext_a\n{rows}", encoding="utf-8")
    more = "".join(f"{text}\n" for _, text in reviews(100, 40))
    (folder / "more.tsv").write_text(f"text_a\n{more}", encoding="utf-8")
    lines = "".join(json.dumps({"text_a": text}) + "\n" for _, text in reviews(200, 20))
    (folder / "questions.jsonl").write_text(lines, encoding="utf-8")
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", '"', "这", *dict.fromkeys(GOOD + BAD)]
    (folder / "vocab.txt").write_text("\n".join(tokens), encoding="utf-8")
    (folder / "own.yaml").write_text(CONFIG.format(folder=folder), encoding="utf-8")
    return folder / "own.yaml"


@pytest.fixture(scope="module")
def runs(config: Path) -> Runs:
    method: Any = Own(config)
    return run_in_trouble(method, config.parent, KILLS, SEED)


def test_the_plan_counts_both(config: Path) -> None:
    printed = tool("train", "-c", str(config), "--check").stdout
    assert "reviews      classification, 2 labels, 24 tokens: 40 train, 60 unlabelled, 20 dev" in printed
    assert "    reviews: 30 steps" in printed  # finetune: 40 / 8 batches, six times
    assert "    reviews (30 train + 50 unlabelled): 10 steps" in printed  # 80 / 8 batches, twice, two a step


def test_what_was_trained_on_is_recorded_logged_and_reported(runs: Runs) -> None:
    finetune, distil = json.loads((runs.whole / "results.json").read_text(encoding="utf-8"))["stages"]
    assert (finetune["examples"], finetune["steps"]) == ({"reviews": {"train": 40}}, 30)
    assert (distil["examples"], distil["steps"]) == ({"reviews": {"train": 30, "unlabelled": 50}}, 10)
    logged = {
        event["step"]: event
        for event in read_events(runs.whole)
        if event["event"] == "log" and event["stage"] == "distil/reviews"
    }
    shares = [logged[step]["labelled_share"] for step in (5, 10)]
    assert shares == [30 / 80] * 2  # an interval is an epoch
    assert logged[5]["raw/hard"] > 0 and logged[5]["raw/soft"] > 0
    report = (runs.whole / "report.html").read_text(encoding="utf-8")
    assert "30 + 50 unlabelled" in report


ANSWERED = """
_BASE_: own.yaml
report: {{teacher: null}}
stages:
  - name: distil
    train: student
    teacher: {{answers: answers.jsonl}}
    per_task: true
    data: {{tasks: [reviews], examples: 30, unlabelled_examples: 50}}
    objective: {{soft: {{weight: 1.0, temperature: 2.0}}, hard: {{weight: 0.2}}}}
    optim: {{learning_rate: 5.0e-3, epochs: 2, batch_size: 8, accumulate: 2}}
"""


def test_recorded_answers_teach_as_the_teacher_that_gave_them(runs: Runs, config: Path) -> None:
    """The teacher's probabilities, by text, in a file; the losses of each interval are those of the live teacher."""
    run = load_config(config)
    spec, tokenizer = task_specs(run)["reviews"], load_tokenizer(runs.whole / "tokenizer")
    teacher = load_model(str(runs.whole / "stages" / "finetune" / "reviews" / "model"))
    with (config.parent / "answers.jsonl").open("w", encoding="utf-8") as file:
        for split in ("train", "unlabelled"):
            examples = read_split(spec, config.parent, split).examples
            features = featurise(spec, examples, tokenizer, spec.max_length)
            for example, given in zip(examples, predict(teacher, spec, examples, features, tokenizer.pad_id)):
                file.write(json.dumps({"text_a": example.texts[0], "probabilities": given.scores}) + "\n")
    answered = config.parent / "answered.yaml"
    answered.write_text(ANSWERED.format(), encoding="utf-8")
    printed = tool("train", "-c", str(answered), "--check").stdout
    assert "distil: trains student from the answers in answers.jsonl, 0.2 hard + 1 soft" in printed
    tool("train", "-c", str(answered), "-o", f"output_dir={config.parent / 'answered'}")
    terms = ("loss", "raw/hard", "raw/soft", "labelled_share")
    found = [
        [
            [event[term] for term in terms]
            for event in read_events(place)
            if event["event"] == "log" and "raw/soft" in event
        ]
        for place in (runs.whole, config.parent / "answered")
    ]
    assert len(found[0]) == 2
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4)
    assert found[0][0][2] > 0.05  # of a teacher that is of an opinion


def test_a_killed_run_ends_at_the_bytes_of_the_undisturbed_one(runs: Runs) -> None:
    assert len(runs.moments) == KILLS
    assert_equal(runs.whole, runs.killed)
