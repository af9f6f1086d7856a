"""The models that a workspace builds from a config: a BiLSTM beside the Transformer that it starts from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ernie_tiny.config.load import load_config
from ernie_tiny.config.shapes import shape_of
from ernie_tiny.errors import InputError
from ernie_tiny.models.backbone import count_embedding_parameters, count_parameters
from ernie_tiny.runs.plan import plan
from ernie_tiny.training.tasks import task_specs
from ernie_tiny.training.workspace import Workspace

CONFIG = """
name: toy
tokenizer: {build_from: general, vocab_size: 40}
data: {corpora: {general: {files: [general.txt]}}}
models:
  teacher: {num_hidden_layers: 1, hidden_size: 8, num_attention_heads: 2, max_position_embeddings: 512}
  student: {family: bilstm, num_hidden_layers: 2, hidden_size: 12, embedding_size: 8, init_from: teacher}
stages:
  - name: distil
    train: student
    data: {tasks: [tnews], max_length: 500}
    objective: {hard: {}}
    optim: {max_steps: 3, batch_size: 4}
"""


def load(folder: Path, *overrides: str):
    folder.joinpath("toy.yaml").write_text(CONFIG, encoding="utf-8")
    folder.joinpath("general.txt").write_text("今天北京的天气很好我们去公园看花\n" * 3, encoding="utf-8")
    return load_config(folder / "toy.yaml", [f"data.root={folder}", f"output_dir={folder}/run", *overrides])


def test_a_bilstm_has_the_planned_size_and_starts_with_the_word_embeddings(tmp_path):
    run = load(tmp_path)
    workspace = Workspace(run)
    student, teacher = workspace.model("student").encoder, workspace.model("teacher").encoder
    shape = shape_of(run.models["student"], workspace.tokenizer.vocab_size)
    assert count_parameters(student) == shape.parameters
    assert count_parameters(student.encoder) == shape.encoder_parameters
    assert count_embedding_parameters(student) == shape.embedding_parameters
    own, theirs = student.embeddings.word_embeddings.weight, teacher.embeddings.word_embeddings.weight
    assert np.array_equal(own.numpy(), theirs.numpy())
    alone = Workspace(load(tmp_path, "models.student.init_from=null")).model("student").encoder
    differing = [
        name
        for name, value in alone.state_dict().items()
        if not np.array_equal(value.numpy(), student.state_dict()[name].numpy())
    ]
    assert differing == ["embeddings.word_embeddings.weight"]


def test_a_bilstm_reads_separators_where_token_types_tell_nothing(tmp_path):
    workspace = Workspace(load(tmp_path))
    assert workspace.model("student").encoder.config.sep_token_id is None
    workspace.tokenizer.second_type = 0
    assert workspace.model("student").encoder.config.sep_token_id == workspace.tokenizer.sep_id
    assert workspace.model("teacher").encoder.config.sep_token_id is None


def test_a_narrower_student_starts_with_its_teachers_layers(tmp_path):
    start = "{num_hidden_layers: 1, hidden_size: 4, num_attention_heads: 1, init_from: teacher, init_layers: [0]"
    run = load(tmp_path, f"models.student={start}, init_narrowed: selection}}")
    workspace = Workspace(run)
    student, teacher = workspace.model("student").encoder, workspace.model("teacher").encoder
    narrowed = teacher.embeddings.word_embeddings.weight.numpy()[:, ::2]
    assert np.array_equal(student.embeddings.word_embeddings.weight.numpy(), narrowed)
    assert "layers [0] of teacher, narrowed by selection" in plan(run)


def test_the_plan_counts_a_bilstm(tmp_path):
    text = plan(load(tmp_path, "models.student.hidden_size=4"))
    # LSTMs: 2 directions x 4 gates x 2 units x (8 + 2 + 2) and (4 + 2 + 2) weights; pooling: 4 x 4 + 8, 4 x 16 + 4.
    assert "student    BiLSTM 2L4H on embeddings of 8, 0.00 M parameters" in text
    assert "word embeddings of teacher" in text
    shape = shape_of(load(tmp_path, "models.student.hidden_size=4").models["student"], 40)
    assert shape.encoder_parameters == 16 * 12 + 16 * 8 and shape.embedding_parameters == 44 * 8
    assert shape.parameters == 44 * 8 + 320 + 24 + 68
    assert shape.forward_flops(100) == shape.forward_flops(7) == 2 * (320 + 16)


def test_a_bilstm_is_not_trained_on_spans(tmp_path):
    with pytest.raises(InputError, match=r"distil\.data\.tasks: student is recurrent and cannot answer cmrc2018"):
        task_specs(load(tmp_path, "stages.distil.data.tasks=[tnews, cmrc2018]"))


def test_a_vocabulary_that_cannot_be_fetched_without_a_word_why(tmp_path, monkeypatch):
    def fail(name):
        raise OSError

    monkeypatch.setattr("paddlenlp.transformers.AutoTokenizer.from_pretrained", fail)
    workspace = Workspace(load(tmp_path, "tokenizer={vocab: ernie-3.0-nano-zh}"))
    with pytest.raises(InputError, match=r"the vocabulary of ernie-3.0-nano-zh cannot be fetched \(OSError\)"):
        workspace.prepare()
