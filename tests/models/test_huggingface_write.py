"""Folders written for transformers: read again they are the same encoder, and what no class computes is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import paddle
import pytest
from safetensors.numpy import load_file

from ernie_tiny.config.schema import ModelConfig
from ernie_tiny.config.shapes import EncoderShape, shape_of
from ernie_tiny.data.huggingface_tokenizer import save_tokenizer_for_transformers
from ernie_tiny.data.tokenizer import SPECIAL_TOKENS, Tokenizer, load_tokenizer
from ernie_tiny.errors import InputError
from ernie_tiny.kind_facts import CANDIDATE, POSITION, ROW
from ernie_tiny.models.backbone import build_encoder, load_pretrained
from ernie_tiny.models.forms import HeadSpec
from ernie_tiny.models.huggingface_write import CHOICE, CLASSES, SPAN, TAGS, save_for_transformers
from ernie_tiny.models.multitask import MultiTaskModel
from tests.shapes import TINY

HEADS = {
    CLASSES: HeadSpec("topic", ROW, 3, ("a", "b", "c")),
    CHOICE: HeadSpec("choice", CANDIDATE, 1),
    SPAN: HeadSpec("reading", POSITION, 2),
    TAGS: HeadSpec("tags", POSITION, 3),
}
IDS = {"pad_token_id": 0}


def model_of(family: str, **more: object) -> MultiTaskModel:
    paddle.seed(5)
    model = MultiTaskModel(build_encoder(family, {**TINY, **more}), HEADS.values())
    for parameter in model.parameters():
        parameter.set_value(parameter + 0.1 * paddle.randn(parameter.shape))
    model.eval()
    return model


def outputs(encoder: paddle.nn.Layer) -> list[np.ndarray]:
    ids = paddle.to_tensor(np.random.default_rng(1).integers(5, 40, (3, 7)))
    with paddle.no_grad():
        return [part.numpy() for part in encoder(ids, attention_mask=paddle.ones_like(ids))[:2]]


@pytest.mark.parametrize("family", ["ernie", "bert", "roberta", "electra"])
def test_the_bare_encoder_read_again_gives_the_same_numbers(family: str, tmp_path: Path) -> None:
    model = model_of(family)
    save_for_transformers(model, tmp_path, IDS)
    again = load_pretrained(str(tmp_path)).encoder
    again.eval()
    for expected, found in zip(outputs(model.encoder), outputs(again)):
        np.testing.assert_array_equal(expected, found)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == [f"{family.capitalize()}Model"]


def test_an_encoder_with_task_types_and_one_with_narrow_embeddings_keep_them(tmp_path: Path) -> None:
    for number, model in enumerate((model_of("ernie", task_type_vocab_size=3), model_of("electra", embedding_size=8))):
        save_for_transformers(model, tmp_path / str(number), IDS)
        again = load_pretrained(str(tmp_path / str(number))).encoder
        again.eval()
        np.testing.assert_array_equal(outputs(model.encoder)[0], outputs(again)[0])


@pytest.mark.parametrize("family", ["ernie", "bert", "roberta", "electra"])
def test_fewer_heads_are_told_as_pruned_ones_and_read_again(family: str, tmp_path: Path) -> None:
    model = model_of(family, num_attention_heads=3, head_size=4)
    save_for_transformers(model, tmp_path, IDS)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["num_attention_heads"] == 4 and config["pruned_heads"] == {"0": [3], "1": [3]}
    assert "head_size" not in config
    again = load_pretrained(str(tmp_path)).encoder
    again.eval()
    for expected, found in zip(outputs(model.encoder), outputs(again)):
        np.testing.assert_array_equal(expected, found)
    shape = shape_of(ModelConfig(pretrained=str(tmp_path)))
    assert isinstance(shape, EncoderShape) and (shape.num_attention_heads, shape.head_width) == (3, 4)


def test_heads_of_a_size_that_transformers_cannot_be_told_of(tmp_path: Path) -> None:
    for heads, size in ((3, 3), (5, 4)):
        with pytest.raises(InputError, match="Export it for Paddle Inference: --format paddle") as caught:
            save_for_transformers(model_of("bert", num_attention_heads=heads, head_size=size), tmp_path, IDS)
        assert f"the encoder: has {heads} heads of {size}, and transformers knows only" in str(caught.value)


@pytest.mark.parametrize("head, layer", [(CLASSES, "classifier"), (TAGS, "classifier"), (SPAN, "qa_outputs")])
def test_a_head_goes_along_turned_and_named(head: str, layer: str, tmp_path: Path) -> None:
    model, task = model_of("bert"), HEADS[head].task
    names = ("x", "y", "z")[: HEADS[head].outputs]
    save_for_transformers(model, tmp_path, IDS, task, head, names)
    stored = load_file(str(tmp_path / "model.safetensors"))
    np.testing.assert_array_equal(stored[f"{layer}.weight"], model.heads[task].dense.weight.numpy().T)
    np.testing.assert_array_equal(stored[f"{layer}.bias"], model.heads[task].dense.bias.numpy())
    assert ("bert.pooler.dense.weight" in stored) == (head == CLASSES)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == [f"BertFor{head}"]
    assert config.get("id2label") == (None if head == SPAN else {"0": "x", "1": "y", "2": "z"})


def test_the_pooler_of_a_roberta_stands_in_its_head_for_classes(tmp_path: Path) -> None:
    model = model_of("roberta")
    save_for_transformers(model, tmp_path, IDS, "topic", CLASSES, ("a", "b", "c"))
    stored = load_file(str(tmp_path / "model.safetensors"))
    np.testing.assert_array_equal(stored["classifier.dense.weight"], model.encoder.pooler.dense.weight.numpy().T)
    np.testing.assert_array_equal(stored["classifier.out_proj.weight"], model.heads["topic"].dense.weight.numpy().T)


@pytest.mark.parametrize("head", [CLASSES, CHOICE])
def test_a_head_over_means_is_refused_with_the_two_ways_out(head: str, tmp_path: Path) -> None:
    model = model_of("bert", pooling="mean")
    with pytest.raises(InputError, match="student with pooling: cls, or write the bare encoder: leave --task out"):
        save_for_transformers(model, tmp_path, IDS, HEADS[head].task, head)
    save_for_transformers(model, tmp_path, IDS, "tags", TAGS, ("x", "y", "z"))
    save_for_transformers(model, tmp_path, IDS)


def test_what_no_class_of_transformers_computes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="topic: the pooler of an ELECTRA is this project's"):
        save_for_transformers(model_of("electra"), tmp_path, IDS, "topic", CLASSES)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "vocab_size": 40, "embedding_size": 8}
    with pytest.raises(InputError, match="transformers has no BiLSTM"):
        save_for_transformers(MultiTaskModel(build_encoder("bilstm", shape)), tmp_path, IDS)


def test_a_tokenizer_read_again_cuts_texts_and_forms_pairs_as_before(tmp_path: Path) -> None:
    tokenizer = Tokenizer([*SPECIAL_TOKENS, *"今天气℃abc", "##b", "##c"])
    save_tokenizer_for_transformers(tokenizer, tmp_path, 24, 2)
    again = load_tokenizer(tmp_path)
    for text in ("今天 ℃", "ABC 龘", ""):
        for expected, found in zip(tokenizer.encode(text), again.encode(text)):
            np.testing.assert_array_equal(expected, found)
    assert (again.separators, again.second_type, again.special_ids) == (1, 1, tokenizer.special_ids)
    save_tokenizer_for_transformers(tokenizer, tmp_path / "one_type", 24, 1)
    assert load_tokenizer(tmp_path / "one_type").second_type == 0
