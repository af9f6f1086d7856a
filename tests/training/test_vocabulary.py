"""A folder with a pruned vocabulary is a pretrained model with a vocabulary of its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ernie_tiny.batch import Batch
from ernie_tiny.config.load import load_config
from ernie_tiny.data.batching import collate
from ernie_tiny.data.corpus import paragraphs_of
from ernie_tiny.data.task import Example, TaskSpec
from ernie_tiny.data.tokenizer import SPECIAL_TOKENS, Tokenizer, load_tokenizer
from ernie_tiny.errors import InputError
from ernie_tiny.kinds.ask import featurise, head_of
from ernie_tiny.models.backbone import build_encoder
from ernie_tiny.models.multitask import MultiTaskModel, load_model, save_model
from ernie_tiny.models.signals import SignalRequest
from ernie_tiny.training.vocabulary import prune_folder, task_texts
from ernie_tiny.training.workspace import Workspace

TOKENS = [*SPECIAL_TOKENS, *"天气很好今日北京吗", *(f"词{number}" for number in range(30)), "abc", "a", "##b", "##c"]
SHAPE = {
    "num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16,
    "vocab_size": len(TOKENS) + 2, "max_position_embeddings": 16, "type_vocab_size": 2,
}  # fmt: skip
SPEC = TaskSpec(name="mine", kind="classification", files={}, texts=("text",), labels=("a", "b"))
TEXTS = ["今日天气很好", "abc 天"]
CONFIG = """
name: tiny
models:
  teacher: {pretrained: FOLDER}
  student: {num_hidden_layers: 1, hidden_size: 4, num_attention_heads: 2, max_position_embeddings: 16}
data:
  tasks:
    mine:
      kind: classification
      files: {train: [train.jsonl], dev: [dev.jsonl]}
      texts: [text]
      labels: [a, b]
stages:
  - name: learn
    train: teacher
    data: {tasks: [mine]}
    objective: {hard: {}}
    optim: {epochs: 1, batch_size: 4}
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    save_model(MultiTaskModel(build_encoder("ernie", SHAPE), [head_of(SPEC)], True), folder)
    Tokenizer(TOKENS).save(folder)
    return folder


def load(folder: Path, pretrained: Path):
    for split, texts in (("train", TEXTS), ("dev", ["吗"])):
        lines = "".join(json.dumps({"text": text, "label": "a"}, ensure_ascii=False) + "\n" for text in texts)
        folder.joinpath(f"{split}.jsonl").write_text(lines, encoding="utf-8")
    (folder / "run.yaml").write_text(CONFIG.replace("FOLDER", str(pretrained)), encoding="utf-8")
    return load_config(folder / "run.yaml", [f"data.root={folder}", f"output_dir={folder}/run"])


def batch_of(folder: Path) -> Batch:
    tokenizer = load_tokenizer(folder)
    examples = [Example(str(number), (text,), label=0) for number, text in enumerate([*TEXTS, "好天 abc"])]
    return collate(featurise(SPEC, examples, tokenizer, 16), "mine", tokenizer.pad_id)


def logits(folder: Path) -> np.ndarray:
    model = load_model(str(folder))
    model.eval()
    return model(batch_of(folder), SignalRequest(logits=True)).logits.numpy()


def test_the_folder_answers_texts_of_its_tokens_as_the_whole_model_does(source, tmp_path):
    sizes = prune_folder(source, tmp_path / "small", task_texts(load(tmp_path, source)), min_count=1)
    kept = load_tokenizer(tmp_path / "small").tokens
    assert kept == (*SPECIAL_TOKENS, "天", "气", "很", "好", "今", "日", "abc", "a", "##b", "##c")  # nothing of dev
    assert sizes.startswith(f"{len(TOKENS) + 2} to {len(kept)} tokens")
    assert np.array_equal(logits(tmp_path / "small"), logits(source))


def test_the_folder_is_a_pretrained_model_with_its_own_vocabulary(source, tmp_path):
    prune_folder(source, tmp_path / "small", TEXTS, min_count=1)
    workspace = Workspace(load(tmp_path, tmp_path / "small"))
    assert workspace.tokenizer.tokens == load_tokenizer(tmp_path / "small").tokens
    model = workspace.model("teacher")
    assert model.encoder.config.vocab_size == workspace.tokenizer.vocab_size
    assert model.masked_token_head is not None and list(model.heads) == ["mine"]
    assert workspace.model("student").encoder.config.vocab_size == workspace.tokenizer.vocab_size


def test_texts_come_from_files_too(source, tmp_path):
    (tmp_path / "a.txt").write_text("天\n\n气\n", encoding="utf-8")
    prune_folder(source, tmp_path / "small", paragraphs_of([tmp_path / "a.txt"]), min_count=1)
    assert load_tokenizer(tmp_path / "small").tokens == (*SPECIAL_TOKENS, "天", "气")


def test_what_cannot_be_pruned_is_refused(source, tmp_path):
    with pytest.raises(InputError, match="is there already"):
        prune_folder(source, source, TEXTS, 1)
    with pytest.raises(InputError, match="hold no token"):
        prune_folder(source, tmp_path / "small", [], 1)
    with pytest.raises(InputError, match="no such vocabulary"):
        prune_folder(tmp_path, tmp_path / "small", TEXTS, 1)
    assert not (tmp_path / "small").exists()
