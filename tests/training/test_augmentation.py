"""Augmented copies of a task's features: made by a stage's model, kept on disk, and trained on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ernie_tiny.config.load import load_config
from ernie_tiny.errors import InputError
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.runs.plan import plan
from ernie_tiny.training import augmentation
from ernie_tiny.training.augmentation import IDS_FILE, training_features
from ernie_tiny.training.interruption import Interruption
from ernie_tiny.training.stage import run_stage
from ernie_tiny.training.workspace import Workspace

CONFIG = """
name: tiny
tokenizer: {build_from: general, vocab_size: 60}
runtime: {logging_steps: 1, visualdl: false}
models:
  teacher: {num_hidden_layers: 1, hidden_size: 8, num_attention_heads: 2, max_position_embeddings: 16}
  student: {num_hidden_layers: 1, hidden_size: 8, num_attention_heads: 2, max_position_embeddings: 16}
data:
  tasks:
    mine:
      kind: pair
      files: {train: [train.jsonl], dev: [train.jsonl]}
      texts: [one, two]
      labels: [a, b]
      max_length: 16
  corpora: {general: {files: [general.txt]}}
stages:
  - name: pretrain
    train: teacher
    data: {corpus: general, max_length: 16}
    objective: {mlm: {}}
    optim: {max_steps: 1, batch_size: 2}
  - name: learn
    train: student
    data:
      tasks: [mine]
      augment: {model: teacher@pretrain, copies: 3, candidates: 5}
    objective: {hard: {}}
    optim: {epochs: 1, batch_size: 8}
"""
TEXT = "今天北京的天气很好我们去公园看花"


def load(folder: Path, *overrides: str):
    folder.joinpath("run.yaml").write_text(CONFIG, encoding="utf-8")
    folder.joinpath("general.txt").write_text(f"{TEXT}\n" * 20, encoding="utf-8")
    rows = [{"one": TEXT[n : n + 5], "two": TEXT[n + 2 : n + 9], "label": "ab"[n % 2]} for n in range(8)]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    folder.joinpath("train.jsonl").write_text(lines, encoding="utf-8")
    return load_config(folder / "run.yaml", [f"data.root={folder}", f"output_dir={folder}/run", *overrides])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run whose first stage is finished and whose second has made its copies."""
    folder = tmp_path_factory.mktemp("augmentation")
    workspace = Workspace(load(folder))
    run_stage(workspace, workspace.run.stage("pretrain"), None, Interruption())
    training_features(workspace, workspace.run.stage("learn"), "mine")
    return folder


def features(folder: Path, *overrides: str):
    workspace = Workspace(load(folder, *overrides))
    return training_features(workspace, workspace.run.stage("learn"), "mine")


def ids(found) -> list[list[int]]:
    return [feature.sequences[0][0].tolist() for feature in found]


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_):
        raise AssertionError("the model was run")

    monkeypatch.setattr(MultiTaskModel, "forward", run)


def test_copies_stand_behind_their_originals_and_are_read_from_disk(trained, monkeypatch):
    forbid(monkeypatch)
    workspace = Workspace(load(trained))
    found = features(trained)
    originals = workspace.features("mine", "train", 16)
    assert ids(found[:8]) == ids(originals)
    assert [feature.example_id for feature in found[8:11]] == [f"{originals[0].example_id}+{n}" for n in (1, 2, 3)]
    assert [feature.label for feature in found[8:]] == [f.label for f in originals for _ in range(3)]
    special = workspace.tokenizer.special_ids
    replaced = 0
    for original, copy in zip(np.repeat(np.arange(8), 3), found[8:]):
        before, after = originals[original].sequences[0][0], copy.sequences[0][0]
        assert np.array_equal(np.isin(before, special), np.isin(after, special))
        replaced += int((before != after).sum())
    assert replaced > 24  # 0.4 x 288 tokens are chosen, and a fifth of them or so stay what they were


@pytest.mark.parametrize(
    "override",
    [
        "seed=7",
        "stages.learn.data.augment.probability=0.2",
        "stages.learn.data.augment.copies=2",
        "stages.learn.data.augment.candidates=4",
        "stages.learn.data.examples=4",
    ],
)
def test_what_the_copies_depend_on_makes_new_ones(override, trained, monkeypatch):
    forbid(monkeypatch)
    with pytest.raises(AssertionError, match="the model was run"):
        features(trained, override)


def test_another_model_makes_new_ones_and_the_old_ones_stay(trained, monkeypatch):
    before = ids(features(trained))
    build = Workspace.model

    def other_model(*arguments):
        model = build(*arguments)
        model.masked_token_head.bias.set_value(model.masked_token_head.bias + 1e-3)
        return model

    with monkeypatch.context() as patch:
        patch.setattr(Workspace, "model", other_model)
        features(trained)
    assert len(list((trained / "run" / "augmented").glob("mine-*"))) >= 2
    forbid(monkeypatch)
    assert ids(features(trained)) == before


def test_the_same_copies_come_again_and_in_batches_of_any_size(trained, monkeypatch):
    before = ids(features(trained))
    for file in (trained / "run" / "augmented").glob(f"mine-*/{IDS_FILE}"):
        file.write_bytes(b"damaged")
    monkeypatch.setattr(augmentation, "BATCH_TOKENS", 16)
    monkeypatch.setattr(augmentation, "CHUNK", 3)
    assert ids(features(trained)) == before


def test_more_candidates_than_tokens_are_refused(trained):
    with pytest.raises(InputError, match=r"candidates = 500: the vocabulary has \d+ ordinary"):
        features(trained, "stages.learn.data.augment.candidates=500")


def test_a_stage_trains_on_the_copies(trained):
    run = load(trained)
    result = run_stage(Workspace(run), run.stage("learn"), None, Interruption())
    assert result["steps"] == 4  # 8 examples and 24 copies in batches of 8
    text = plan(run)
    assert "mine: 4 steps" in text and "on 3 more copies of each example by teacher@pretrain" in text


def test_inputs_longer_than_the_model_that_makes_copies_are_refused(trained):
    with pytest.raises(InputError, match="inputs of 32 tokens do not fit the 16 positions of teacher@pretrain"):
        features(trained, "stages.learn.data.max_length=32")
