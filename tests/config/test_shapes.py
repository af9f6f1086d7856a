"""Parameter counts and FLOPs of shapes, against the published table, by hand, and against built models."""

from __future__ import annotations

import dataclasses
import json

import pytest

from ernie_tiny.config.schema import ModelConfig
from ernie_tiny.config.shapes import PRETRAINED, SHAPES, EncoderShape, shape_of
from ernie_tiny.models import backbone

# Millions: total, embeddings, layers. The rows of PaddleNLP's configurations.
PUBLISHED = {
    "ernie-3.0-xbase-zh": (296.05, 43.08, 251.92),
    "ernie-3.0-base-zh": (117.94, 32.30, 85.05),
    "ernie-3.0-medium-zh": (75.43, 32.31, 42.53),
    "ernie-3.0-mini-zh": (26.95, 16.15, 10.65),
    "ernie-3.0-micro-zh": (23.40, 16.15, 7.10),
    "ernie-3.0-nano-zh": (17.91, 13.13, 4.69),
    "ernie-3.0-tiny-pico-v2-zh": (5.99, 5.38, 0.59),
}
PUBLISHED_TO_ONE_DECIMAL = {"base": 117.9, "medium": 75.4, "mini": 26.9, "micro": 23.4, "nano": 17.9}

TINY = EncoderShape(
    num_hidden_layers=2,
    hidden_size=4,
    num_attention_heads=2,
    intermediate_size=8,
    vocab_size=10,
    max_position_embeddings=6,
    type_vocab_size=3,
    task_type_vocab_size=1,
)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_equal_the_published_table(name):
    shape = PRETRAINED[name]
    counts = (shape.parameters, shape.embedding_parameters, shape.encoder_parameters)
    assert tuple(round(count / 1e6, 2) for count in counts) == PUBLISHED[name]


@pytest.mark.parametrize("name", PUBLISHED_TO_ONE_DECIMAL)
def test_parameters_of_the_v2_students(name):
    assert round(PRETRAINED[f"ernie-3.0-tiny-{name}-v2-zh"].parameters / 1e6, 1) == PUBLISHED_TO_ONE_DECIMAL[name]
    assert PRETRAINED[f"ernie-3.0-tiny-{name}-v2-zh"] == SHAPES[name]


def test_parameters_of_bert_base_chinese():
    assert PRETRAINED["bert-base-chinese"].parameters == 102_267_648


def test_parameters_by_hand():
    assert TINY.embedding_parameters == (10 + 6 + 3 + 1) * 4 + 8  # four tables and a LayerNorm
    attention, feed_forward, norms = 4 * (16 + 4), (32 + 8) + (32 + 4), 2 * 8
    assert TINY.layer_parameters == attention + feed_forward + norms == 172
    assert TINY.encoder_parameters == 2 * 172
    assert TINY.parameters == 88 + 344 + (16 + 4)  # and the pooler


def test_flops_by_hand():
    # A layer and token: 2 x 172, and against 5 tokens 2 x 5 x 4 for the scores and as much for the values.
    assert TINY.forward_flops(5, layers=1) == 2 * 172 + 2 * (2 * 5 * 4) == 424
    assert TINY.forward_flops(5) == 848
    assert TINY.forward_flops(5, layers=0) == 0


@pytest.mark.parametrize("name", ["nano", "pico"])
@pytest.mark.parametrize("task_types", [0, 16])
def test_counts_equal_a_built_model(name, task_types):
    shape = dataclasses.replace(SHAPES[name], vocab_size=100, task_type_vocab_size=task_types)
    encoder = backbone.build_encoder("ernie", dataclasses.asdict(shape))
    assert backbone.count_parameters(encoder) == shape.parameters
    assert backbone.count_embedding_parameters(encoder) == shape.embedding_parameters
    assert backbone.count_parameters(encoder.encoder) == shape.encoder_parameters


# ---- from a config to a shape


def test_a_named_shape_takes_changes_and_the_runs_vocabulary():
    shape = shape_of(ModelConfig(shape="nano", num_hidden_layers=6, hidden_dropout_prob=0.0), vocab_size=123)
    assert shape == dataclasses.replace(SHAPES["nano"], num_hidden_layers=6, hidden_dropout_prob=0.0, vocab_size=123)


def test_a_shape_by_its_numbers():
    shape = shape_of(ModelConfig(num_hidden_layers=3, hidden_size=20, num_attention_heads=5))
    assert (shape.num_hidden_layers, shape.hidden_size, shape.num_attention_heads) == (3, 20, 5)
    assert shape.intermediate_size == 80
    given = ModelConfig(num_hidden_layers=3, hidden_size=20, num_attention_heads=5, intermediate_size=7)
    assert shape_of(given).intermediate_size == 7


@pytest.mark.parametrize("missing", ["num_hidden_layers", "hidden_size", "num_attention_heads"])
def test_a_missing_number_is_named(missing):
    numbers = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2}
    del numbers[missing]
    with pytest.raises(KeyError) as caught:
        shape_of(ModelConfig(**numbers))
    assert caught.value.args == (missing,)


def test_pretrained_models_by_name_and_folder(tmp_path):
    assert shape_of(ModelConfig(pretrained="ernie-3.0-nano-zh")) == PRETRAINED["ernie-3.0-nano-zh"]
    assert shape_of(ModelConfig(pretrained="someone/unknown")) is None
    numbers = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 9}
    config = {
        **numbers,
        "vocab_size": 30,
        "model_type": "ernie",
        "use_task_id": False,
        "task_type_vocab_size": 3,
    }
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    left_out = {"max_position_embeddings": 512, "type_vocab_size": 2}  # what transformers takes for them
    assert shape_of(ModelConfig(pretrained=str(tmp_path))) == EncoderShape(**numbers, **left_out, vocab_size=30)
    (tmp_path / "config.json").write_text(json.dumps({**config, "use_task_id": True}), encoding="utf-8")
    assert shape_of(ModelConfig(pretrained=str(tmp_path))).task_type_vocab_size == 3


@pytest.mark.parametrize("embedding_size", [8, 16])
def test_parameters_of_an_electra_are_those_of_the_built_one(embedding_size, tmp_path):
    numbers = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24}
    numbers |= {"vocab_size": 30, "max_position_embeddings": 20, "type_vocab_size": 2, "embedding_size": embedding_size}
    (tmp_path / "config.json").write_text(json.dumps({**numbers, "model_type": "electra"}), encoding="utf-8")
    network = backbone.build_encoder("electra", numbers)
    shape = shape_of(ModelConfig(pretrained=str(tmp_path)))
    assert shape.parameters == backbone.count_parameters(network)
    assert shape.embedding_parameters == backbone.count_embedding_parameters(network)
