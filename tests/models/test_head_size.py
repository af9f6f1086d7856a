"""Encoders whose heads do not fill their width: built, saved, read, changed and counted as any other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import paddle
import pytest

from ernie_tiny.config.schema import ModelConfig
from ernie_tiny.config.shapes import EncoderShape, shape_of
from ernie_tiny.models.backbone import append_layers, build_encoder, copy_layers, count_parameters, load_pretrained
from ernie_tiny.models.head_size import heads_of
from ernie_tiny.models.multitask import MultiTaskModel, save_model
from ernie_tiny.models.pruning import prune_vocabulary

SHAPE = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 3, "head_size": 4, "intermediate_size": 24,
         "vocab_size": 40, "max_position_embeddings": 12, "type_vocab_size": 2, "pad_token_id": 0}  # fmt: skip
FAMILIES = ["ernie", "bert", "roberta", "electra"]


def outputs(encoder: paddle.nn.Layer) -> np.ndarray:
    encoder.eval()
    ids = paddle.to_tensor(np.random.default_rng(1).integers(1, 40, (3, 7)))
    return encoder(ids, attention_mask=paddle.ones_like(ids))[0].numpy()


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_saved_and_read_as_any_model(family: str, tmp_path: Path) -> None:
    encoder = build_encoder(family, SHAPE)
    save_model(MultiTaskModel(encoder), tmp_path)
    written = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert (written["num_attention_heads"], written["head_size"]) == (3, 4)
    assert written["architectures"] == [f"{family.capitalize()}Model"]
    again = load_pretrained(str(tmp_path)).encoder
    assert heads_of(again) == (3, 4) and again.encoder.layers[1].self_attn.q_proj.weight.shape == [16, 12]
    assert np.array_equal(outputs(again), outputs(encoder))
    shape = shape_of(ModelConfig(pretrained=str(tmp_path)))
    assert shape is not None and shape.parameters == count_parameters(again)


@pytest.mark.parametrize("family", FAMILIES)
def test_its_weights_begin_as_the_familys_do(family: str) -> None:
    paddle.seed(2)
    attention = build_encoder(family, {**SHAPE, "hidden_size": 64}).encoder.layers[0].self_attn
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
        layer = getattr(attention, name)
        assert float(layer.weight.std()) == pytest.approx(0.02, rel=0.2) and not layer.bias.numpy().any()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_size_that_fills_the_width_changes_nothing(family: str) -> None:
    found = []
    for named in ({}, {"head_size": 4}):
        paddle.seed(4)
        numbers = {key: value for key, value in SHAPE.items() if key != "head_size"}
        found.append(build_encoder(family, {**numbers, "num_attention_heads": 4, **named}))
    assert np.array_equal(*map(outputs, found))


def test_its_attention_is_that_of_numpy() -> None:
    paddle.seed(3)
    attention = build_encoder("bert", SHAPE).encoder.layers[0].self_attn
    attention.eval()
    for parameter in attention.parameters():
        parameter.set_value(parameter + 0.5 * paddle.randn(parameter.shape))
    text = np.random.default_rng(5).normal(size=(6, 16)).astype("float32")
    read = {name: value.numpy() for name, value in attention.state_dict().items()}
    heads = []
    for head in range(3):
        own = slice(4 * head, 4 * head + 4)
        queries, keys, values = (
            (text @ read[f"{name}.weight"] + read[f"{name}.bias"])[:, own] for name in ("q_proj", "k_proj", "v_proj")
        )
        scores = np.exp(queries @ keys.T / 2)  # the root of a head's size
        heads.append(scores / scores.sum(axis=1, keepdims=True) @ values)
    expected = np.concatenate(heads, axis=1) @ read["out_proj.weight"] + read["out_proj.bias"]
    np.testing.assert_allclose(attention(paddle.to_tensor(text[None])).numpy()[0], expected, rtol=1e-4, atol=1e-5)


def test_layers_are_added_and_copied_and_a_vocabulary_is_pruned() -> None:
    encoder = build_encoder("ernie", SHAPE)
    pruned = prune_vocabulary(MultiTaskModel(encoder), [0, 1, 2, 3, 7]).encoder
    assert heads_of(pruned) == (3, 4) and pruned.config.vocab_size == 5
    target = build_encoder("ernie", {**SHAPE, "num_hidden_layers": 1})
    copy_layers(encoder, target, [1])
    for name, value in encoder.encoder.layers[1].state_dict().items():
        assert np.array_equal(target.encoder.layers[0].state_dict()[name].numpy(), value.numpy())
    append_layers(target, 1)
    added = target.encoder.layers[1].self_attn
    assert (added.num_heads, added.head_dim, added.out_proj.weight.shape) == (3, 4, [12, 16])
    assert np.isfinite(outputs(target)).all()


def test_numbers_of_a_shape_by_hand() -> None:
    shape = EncoderShape(1, 8, 2, 10, head_size=3)
    assert shape.layer_parameters == 3 * (8 * 6 + 6) + (6 * 8 + 8) + (8 * 10 + 10) + (10 * 8 + 8) + 4 * 8
    assert shape.forward_flops(5) == 2 * shape.layer_parameters + 2 * 2 * 5 * 6
    assert shape.outline == "1L8H, 2 heads of 3"
    assert EncoderShape(1, 8, 2, 10).kept_bytes(5) == 4 * (34 * 8 + 5 * 2 * 5)
    assert EncoderShape(1, 8, 2, 10).kept_bytes(5) - shape.kept_bytes(5) == 4 * 8 * 2
