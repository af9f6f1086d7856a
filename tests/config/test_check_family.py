"""What a BiLSTM cannot be given, cannot start from and cannot learn or teach is refused, with the reason."""

from __future__ import annotations

import json

import pytest

from ernie_tiny.config import load_config
from ernie_tiny.config.schema import ModelConfig
from ernie_tiny.config.shapes import BiLstmShape, shape_of
from tests.config.conftest import refused

CONFIG = """
name: toy
data: {corpora: {general: {files: [a.txt]}}}
models:
  teacher: {num_hidden_layers: 2, hidden_size: 32, num_attention_heads: 4}
  student: {family: bilstm, num_hidden_layers: 1, hidden_size: 24, embedding_size: 32, init_from: teacher@refine}
stages:
  - name: refine
    train: teacher
    data: {tasks: [tnews, c3]}
    objective: {hard: {}}
    optim: &steps {max_steps: 3, batch_size: 4}
  - name: distil
    train: student
    teacher: teacher@refine
    data: {tasks: [tnews, c3]}
    objective: {logit_mse: {}, soft: {}, hard: {}}
    optim: *steps
  - name: assist
    train: teacher@refine
    teacher: student@distil
    data: {tasks: [tnews]}
    objective: {soft: {}}
    optim: *steps
"""


def test_a_bilstm_learns_and_teaches_answers(path):
    run = load_config(path)
    assert shape_of(run.models["student"]) == BiLstmShape(1, 24, 32)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("num_attention_heads", "4", "no attention heads"),
        ("head_size", "4", "no attention heads"),
        ("intermediate_size", "64", "no feed-forward layers"),
        ("max_position_embeddings", "64", "reads any length"),
        ("attention_probs_dropout_prob", "0.1", "no attention between tokens"),
        ("shape", "nano", "published shapes are those of Transformers"),
        ("pretrained", "ernie-3.0-nano-zh", "leave family out"),
        ("init_layers", "[0]", "word embeddings alone"),
        ("hidden_size", "25", "must be even"),
        ("embedding_size", "0", "must be above 0"),
    ],
)
def test_keys_of_a_transformer_are_refused(path, key, value, reason):
    message = refused(path, f"models.student.{key}={value}")
    assert message.startswith(f"-o models.student.{key}={value}: models.student.{key}") and reason in message


def test_a_transformer_has_no_embedding_size(path):
    message = refused(path, "models.teacher.embedding_size=16")
    assert "models.teacher.embedding_size cannot be given" in message and "Only family bilstm" in message


def test_an_electra_from_a_shape_has_none_either(path):
    message = refused(path, "models.teacher.family=electra", "models.teacher.embedding_size=16")
    assert "models.teacher.embedding_size cannot be given" in message


def test_missing_sizes_are_named(path):
    assert "models.student needs hidden_size" in refused(path, "models.student.hidden_size=null")


def test_a_transformer_still_names_the_layers_that_it_takes(path):
    message = refused(
        path,
        "models.student={num_hidden_layers: 1, hidden_size: 32, num_attention_heads: 4, init_from: teacher@refine}",
    )
    assert "models.student.init_layers is missing" in message


def test_the_width_of_copied_embeddings_is_the_source_s(path):
    message = refused(path, "models.student.embedding_size=null")
    assert "models.student.init_from gives word embeddings of width 32, and student has embedding_size 24" in message
    assert message.endswith("Set models.student.embedding_size to 32.")


def test_a_transformer_takes_no_layers_of_a_bilstm(path):
    message = refused(
        path, "models.student.init_from=null", "models.teacher.init_from=student", "models.teacher.init_layers=[0]"
    )
    assert "models.teacher.init_from = student, a BiLSTM" in message


@pytest.mark.parametrize("term", ["relation", "sample_relation", "attention", "hidden", "embedding"])
@pytest.mark.parametrize("stage", ["distil", "assist"])  # where it learns, and where it teaches
def test_inner_signals_of_a_bilstm_are_refused(path, term, stage):
    message = refused(path, f"stages.{stage}.objective.{term}={{}}")
    assert f"stages.{stage}.objective.{term} reads what only a Transformer has, and student is a BiLSTM" in message
    assert message.endswith("Terms for it: hard, soft, logit_mse.")


def test_masked_tokens_are_refused(path):
    message = refused(
        path,
        "stages.distil={name: distil, train: student, data: {corpus: general}, "
        "objective: {mlm: {}}, optim: {max_steps: 1, batch_size: 2}}",
    )
    assert "stages.distil.objective.mlm reads what only a Transformer has" in message


def test_auxiliary_layers_are_refused(path):
    message = refused(path, "stages.distil.auxiliary_layers=1")
    assert "stages.distil.auxiliary_layers = 1, but student is a BiLSTM" in message


def test_the_family_of_a_folder_is_read(path, tmp_path):
    numbers = {"num_hidden_layers": 2, "hidden_size": 24, "embedding_size": 16, "vocab_size": 30}
    content = {**numbers, "model_type": "bilstm", "architectures": ["BiLstmModel"]}
    (tmp_path / "config.json").write_text(json.dumps(content), encoding="utf-8")
    assert shape_of(ModelConfig(pretrained=str(tmp_path))) == BiLstmShape(**numbers)
    message = refused(path, f"models.student={{pretrained: {tmp_path}}}", "stages.distil.objective.hidden={}")
    assert "student is a BiLSTM" in message
    del content["hidden_size"]
    (tmp_path / "config.json").write_text(json.dumps(content), encoding="utf-8")
    assert "its config.json is no encoder's" in refused(path, f"models.student={{pretrained: {tmp_path}}}")


def test_keys_that_the_family_of_a_folder_does_not_have_are_refused(path, tmp_path):
    content = {"num_hidden_layers": 2, "hidden_size": 24, "embedding_size": 16, "vocab_size": 30}
    (tmp_path / "config.json").write_text(json.dumps({**content, "model_type": "bilstm"}), encoding="utf-8")
    student = f"models.student={{pretrained: {tmp_path}, "
    assert load_config(path, [student.replace(", ", "}")])
    for key, value, reason in (
        ("pooling", "mean", "it has a pooling of its own"),
        ("attention_probs_dropout_prob", "0.1", "it has no attention between tokens"),
    ):
        message = refused(path, f"{student}{key}: {value}}}")
        assert f"models.student.{key} cannot be given: the model is a BiLSTM, and {reason}." in message


def test_a_bilstm_takes_the_word_embeddings_of_an_electra_as_wide_as_they_are(path, tmp_path):
    numbers = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}
    content = {**numbers, "model_type": "electra", "embedding_size": 16, "vocab_size": 30}
    (tmp_path / "config.json").write_text(json.dumps(content), encoding="utf-8")
    teacher = f"models.teacher={{pretrained: {tmp_path}}}"
    assert load_config(path, [teacher, "models.student.embedding_size=16"])
    message = refused(path, teacher)
    assert "gives word embeddings of width 16, and student has embedding_size 32" in message
