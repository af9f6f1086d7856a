"""The folder that an export writes, and the gate that compares it with the trained model."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import paddle
import pytest

from ernie_tiny.data.batching import collate
from ernie_tiny.data.clue import find_task
from ernie_tiny.data.task import Example
from ernie_tiny.data.tokenizer import (
    ROBERTA_SPECIAL_TOKENS,
    SPECIAL_TOKENS,
    ByteLevelTokenizer,
    Tokenizer,
    load_tokenizer,
)
from ernie_tiny.engines.export import INPUTS
from ernie_tiny.errors import InputError
from ernie_tiny.evaluation.predict import predict
from ernie_tiny.kinds.ask import featurise, head_of
from ernie_tiny.models.backbone import build_encoder
from ernie_tiny.models.multitask import MultiTaskModel, SingleTaskModel
from ernie_tiny.models.pooling import FirstTokenLayer, encode
from ernie_tiny.serving.export import check_parity, export_model
from ernie_tiny.serving.predictor import Predictor
from tests.shapes import TINY

TEXT = "今天北京的天气很好我们去公园看花"
TOKENIZER = Tokenizer([*SPECIAL_TOKENS, *TEXT])
SHAPE = {**TINY, "vocab_size": len(TOKENIZER.tokens), "max_position_embeddings": 32}
BILSTM = {
    **{name: SHAPE[name] for name in ("num_hidden_layers", "hidden_size", "vocab_size")},
    "embedding_size": 8,
    "hidden_dropout_prob": 0.1,
}
EXAMPLES = {
    "tnews": tuple(Example(str(n), (TEXT[: 3 + n],), 0) for n in range(10)),
    "c3": tuple(Example(str(n), (TEXT[n:], "天气"), 0, ("很好", "去公园", "花", "看")[: 2 + n % 3]) for n in range(10)),
    "cmrc2018": tuple(Example(str(n), ("天气", TEXT[n:])) for n in range(10)),
}


def build(task: str, family: str = "ernie", pooling: str = "cls", **changes: int) -> MultiTaskModel:
    spec = find_task(task)
    paddle.seed(3)
    shape = {**(BILSTM if family == "bilstm" else SHAPE), **changes}
    model = MultiTaskModel(build_encoder(family, shape), [head_of(spec)])
    model.encoder.config.pooling = pooling
    for parameter in model.parameters():  # biases too, and large enough that a lost weight shows
        parameter.set_value(parameter + 0.1 * paddle.randn(parameter.shape))
    model.eval()
    return model


def features_of(task: str) -> list:
    return featurise(find_task(task), EXAMPLES[task], TOKENIZER, 24)


@pytest.mark.parametrize("task", sorted(EXAMPLES))
def test_an_export_is_complete_and_equals_the_trained_model(task: str, tmp_path: Path) -> None:
    spec, model = find_task(task), build(task)
    export_model(model, spec, TOKENIZER, 24, tmp_path)
    files = {file.name for file in tmp_path.iterdir()}
    assert {"model.json", "model.pdiparams", "vocab.txt", "task.json"} <= files
    assert load_tokenizer(tmp_path).tokens == TOKENIZER.tokens
    content = json.loads((tmp_path / "task.json").read_text(encoding="utf-8"))
    assert content["task"]["labels"] == list(spec.labels)
    assert content["task"]["max_length"] == 24
    head = head_of(spec)
    assert (content["output"]["form"], content["output"]["outputs"]) == (head.form, head.outputs)
    assert [item["name"] for item in content["inputs"]] == ["input_ids", "token_type_ids", "attention_mask"]
    differences = check_parity(tmp_path, model, features_of(task), TOKENIZER.pad_id, 1e-4)
    assert sorted(differences) == ["inference", "static"]
    assert max(differences.values()) < 1e-4


def test_a_regression_of_roberta_with_one_token_type_is_exported(tmp_path: Path) -> None:
    spec, tokenizer = find_task("stsb"), ByteLevelTokenizer([*ROBERTA_SPECIAL_TOKENS, *"abcdefgh"], [])
    shape = {**SHAPE, "vocab_size": tokenizer.vocab_size, "type_vocab_size": 1, "pad_token_id": tokenizer.pad_id}
    model = MultiTaskModel(build_encoder("roberta", shape), [head_of(spec)])
    model.eval()
    export_model(model, spec, tokenizer, 24, tmp_path)
    examples = [Example(str(length), ("abcdefgh"[:length], "ab"), 2.5) for length in range(1, 8)]
    features = featurise(spec, examples, tokenizer, 24)
    differences = check_parity(tmp_path, model, features, tokenizer.pad_id, 1e-4)
    assert max(differences.values()) < 1e-4
    predictor = Predictor(tmp_path)
    assert [float(found.answer) for found in predictor.predict(examples)] == pytest.approx(
        [float(found.answer) for found in predict(model, spec, examples, features, tokenizer.pad_id)], abs=1e-4
    )


FAMILIES = ["ernie", "bert", "roberta", "electra", "bilstm"]


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_and_pooling_gives_what_the_untouched_model_gives(
    family: str, pooling: str, tmp_path: Path
) -> None:
    model = build("tnews", family, pooling)
    export_model(model, find_task("tnews"), TOKENIZER, 24, tmp_path)
    differences = check_parity(tmp_path, model, features_of("tnews"), TOKENIZER.pad_id, 1e-4)
    assert max(differences.values()) < 2e-5


@pytest.mark.parametrize("family", FAMILIES[:-1])
def test_a_model_of_fewer_heads_gives_what_the_untouched_model_gives(family: str, tmp_path: Path) -> None:
    model = build("tnews", family, num_attention_heads=3, head_size=4)
    export_model(model, find_task("tnews"), TOKENIZER, 24, tmp_path)
    differences = check_parity(tmp_path, model, features_of("tnews"), TOKENIZER.pad_id, 1e-4)
    assert max(differences.values()) < 2e-5


@pytest.mark.parametrize("task", sorted(EXAMPLES))
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_the_last_layer_is_cut_to_the_first_token_where_no_other_is_read(task: str, pooling: str) -> None:
    model = build(task, "bert", pooling)
    layers = model.encoder.encoder.layers
    batch = collate(features_of(task)[:3], task, TOKENIZER.pad_id)
    inputs = [paddle.to_tensor(getattr(batch, name)) for name in INPUTS]
    single = SingleTaskModel(model, task)
    with single.without_what_is_not_read():
        length = encode(model.encoder, *inputs)[0].shape[1]
    assert length == (1 if pooling == "cls" and task != "cmrc2018" else batch.input_ids.shape[1])
    assert model.encoder.encoder.layers is layers


@pytest.mark.parametrize("normalize_before", [False, True])
def test_a_layer_of_the_first_token_gives_what_the_whole_layer_gives_there(normalize_before: bool) -> None:
    paddle.seed(5)
    layer = paddle.nn.TransformerEncoderLayer(12, 3, 20, activation="gelu", normalize_before=normalize_before)
    layer.eval()
    for parameter in layer.parameters():
        parameter.set_value(parameter + 0.1 * paddle.randn(parameter.shape))
    source, mask = paddle.randn([2, 5, 12]), paddle.to_tensor([[0.0] * 5, [0.0] * 3 + [-1e4] * 2]).unsqueeze([1, 2])
    found = FirstTokenLayer(layer)(source, mask).numpy()
    np.testing.assert_allclose(found, layer(source, mask).numpy()[:, :1], atol=1e-6)


def test_an_export_has_no_dropout_and_leaves_the_model_its_own(tmp_path: Path) -> None:
    model = build("tnews")
    before = [layer.p for layer in model.sublayers() if isinstance(layer, paddle.nn.Dropout)]
    export_model(model, find_task("tnews"), TOKENIZER, 24, tmp_path)
    assert "dropout" not in (tmp_path / "model.json").read_text(encoding="utf-8")
    assert [layer.p for layer in model.sublayers() if isinstance(layer, paddle.nn.Dropout)] == before
    assert max(before) > 0 and model.encoder.encoder.layers[0].self_attn.dropout > 0


@pytest.mark.parametrize("task", sorted(EXAMPLES))
def test_the_gate_refuses_an_export_of_other_weights(task: str, tmp_path: Path) -> None:
    model = build(task)
    export_model(model, find_task(task), TOKENIZER, 24, tmp_path)
    bias = model.heads[task].dense.bias
    bias.set_value(bias + 0.5)
    with pytest.raises(InputError) as error:
        check_parity(tmp_path, model, features_of(task), TOKENIZER.pad_id, 1e-4)
    assert str(tmp_path) in str(error.value)
    assert "5.00e-01" in str(error.value)


@pytest.mark.parametrize(("exported", "trained"), [(math.nan, 0.0), (math.inf, 0.0), (0.0, math.nan)])
def test_the_gate_refuses_what_is_not_a_number_on_either_side(exported: float, trained: float, tmp_path: Path) -> None:
    model = build("tnews")
    bias = model.heads["tnews"].dense.bias
    bias.set_value(paddle.full_like(bias, exported))
    export_model(model, find_task("tnews"), TOKENIZER, 24, tmp_path)
    bias.set_value(paddle.full_like(bias, trained))
    with pytest.raises(InputError, match=r"logits \(static\) differ by inf"):
        check_parity(tmp_path, model, features_of("tnews"), TOKENIZER.pad_id, 1e-4)


def test_the_gate_refuses_an_export_of_other_outputs(tmp_path: Path) -> None:
    model, other = build("tnews"), build("tnews")
    other.heads["tnews"] = type(other.heads["tnews"])(SHAPE["hidden_size"], 14, dropout=0.0)
    export_model(other, find_task("tnews"), TOKENIZER, 24, tmp_path)
    with pytest.raises(InputError, match=r"logits \(static\) differ by inf"):
        check_parity(tmp_path, model, features_of("tnews"), TOKENIZER.pad_id, 1e-4)
