"""Folders that transformers saves, made here by hand in PyTorch's names and layout; tests/interop has real ones."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from safetensors.numpy import save_file

from ernie_tiny.batch import Batch
from ernie_tiny.config.schema import ModelConfig
from ernie_tiny.config.shapes import planned_positions
from ernie_tiny.errors import InputError
from ernie_tiny.models.backbone import load_pretrained, usable_positions
from ernie_tiny.models.huggingface import convert, numbers_of
from ernie_tiny.models.multitask import load_model
from ernie_tiny.models.signals import SignalRequest

LAYERS, WIDTH, INNER, TOKENS, POSITIONS = 2, 8, 12, 20, 16
CONFIG = {
    "model_type": "bert",
    "architectures": ["BertForMaskedLM"],
    "num_hidden_layers": LAYERS,
    "hidden_size": WIDTH,
    "num_attention_heads": 2,
    "intermediate_size": INNER,
    "vocab_size": TOKENS,
    "max_position_embeddings": POSITIONS,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
}
DENSE = {  # PyTorch's layers of one layer of the encoder, to [out, in]
    "attention.self.query": (WIDTH, WIDTH),
    "attention.self.key": (WIDTH, WIDTH),
    "attention.self.value": (WIDTH, WIDTH),
    "attention.output.dense": (WIDTH, WIDTH),
    "intermediate.dense": (INNER, WIDTH),
    "output.dense": (WIDTH, INNER),
}
IDS = np.array([[3, 9, 12, 4, 7], [5, 6, 19, 1, 2]])


def arrays(prefix: str = "", pooler: bool = True, norm: tuple[str, str] = ("weight", "bias")) -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (TOKENS, WIDTH),
        "embeddings.position_embeddings.weight": (POSITIONS, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(LAYERS):
        for name, shape in DENSE.items():
            shapes[f"encoder.layer.{layer}.{name}.weight"] = shape
            shapes[f"encoder.layer.{layer}.{name}.bias"] = shape[:1]
        norms += [f"encoder.layer.{layer}.{place}.LayerNorm" for place in ("attention.output", "output")]
    shapes |= {f"{name}.{leaf}": (WIDTH,) for name in norms for leaf in norm}
    if pooler:
        shapes |= {"pooler.dense.weight": (WIDTH, WIDTH), "pooler.dense.bias": (WIDTH,)}
    return {f"{prefix}{name}": random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def head(**changes: np.ndarray) -> dict[str, np.ndarray]:
    random = np.random.default_rng(4)
    shapes = {
        "cls.predictions.transform.dense.weight": (WIDTH, WIDTH),
        "cls.predictions.transform.dense.bias": (WIDTH,),
        "cls.predictions.transform.LayerNorm.weight": (WIDTH,),
        "cls.predictions.transform.LayerNorm.bias": (WIDTH,),
        "cls.predictions.bias": (TOKENS,),
    }
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()} | changes


def folder(path: Path, stored: Mapping[str, np.ndarray], **changes: Any) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps({**CONFIG, **changes}), encoding="utf-8")
    save_file(dict(stored), path / "model.safetensors", {"format": "pt"})
    return path


def outputs(network: paddle.nn.Layer) -> tuple[np.ndarray, np.ndarray]:
    network.eval()
    with paddle.no_grad():
        sequence, pooled = network(paddle.to_tensor(IDS), attention_mask=paddle.ones_like(paddle.to_tensor(IDS)))[:2]
    return sequence.numpy(), pooled.numpy()


# ---- BERT in NumPy, from its paper, on PyTorch's arrays


def dense(stored: Mapping[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    return x @ stored[f"{name}.weight"].T + stored[f"{name}.bias"]


def normed(stored: Mapping[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
    return centred / deviation * stored[f"{name}.weight"] + stored[f"{name}.bias"]


def gelu(x: np.ndarray) -> np.ndarray:
    from scipy.special import erf

    return x * (1 + erf(x / np.sqrt(2))) / 2


def bert(stored: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    x = stored["embeddings.word_embeddings.weight"][IDS] + stored["embeddings.token_type_embeddings.weight"][0]
    x = normed(stored, "embeddings.LayerNorm", x + stored["embeddings.position_embeddings.weight"][: IDS.shape[1]])
    for number in range(LAYERS):
        layer = f"encoder.layer.{number}"
        parts = [dense(stored, f"{layer}.attention.self.{name}", x) for name in ("query", "key", "value")]
        heads = [part.reshape(*IDS.shape, 2, WIDTH // 2).transpose(0, 2, 1, 3) for part in parts]
        scores = heads[0] @ heads[1].transpose(0, 1, 3, 2) / np.sqrt(WIDTH / 2)
        weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        mixed = (weights @ heads[2]).transpose(0, 2, 1, 3).reshape(x.shape)
        x = normed(
            stored, f"{layer}.attention.output.LayerNorm", x + dense(stored, f"{layer}.attention.output.dense", mixed)
        )
        inner = gelu(dense(stored, f"{layer}.intermediate.dense", x))
        x = normed(stored, f"{layer}.output.LayerNorm", x + dense(stored, f"{layer}.output.dense", inner))
    return x, np.tanh(dense(stored, "pooler.dense", x[:, 0]))


def test_an_encoder_computes_what_its_arrays_say(tmp_path: Path) -> None:
    found, expected = outputs(load_pretrained(str(folder(tmp_path, arrays()))).encoder), bert(arrays())
    assert np.abs(found[0] - expected[0]).max() < 1e-5 and np.abs(found[1] - expected[1]).max() < 1e-5


@pytest.mark.parametrize("prefix", ["bert.", "model.bert.", "module."])
def test_a_prefix_is_taken_off(prefix: str, tmp_path: Path) -> None:
    plain = outputs(load_pretrained(str(folder(tmp_path / "plain", arrays()))).encoder)
    found = outputs(load_pretrained(str(folder(tmp_path / "prefixed", arrays(prefix)))).encoder)
    assert np.array_equal(found[0], plain[0]) and np.array_equal(found[1], plain[1])


def test_old_names_of_norms_and_buffers(tmp_path: Path) -> None:
    plain = outputs(load_pretrained(str(folder(tmp_path / "plain", arrays()))).encoder)
    old = arrays(norm=("gamma", "beta")) | {"embeddings.position_ids": np.arange(POSITIONS)[None]}
    assert np.array_equal(outputs(load_pretrained(str(folder(tmp_path / "old", old))).encoder)[0], plain[0])


def test_half_precision_is_widened(tmp_path: Path) -> None:
    half = {name: value.astype(np.float16) for name, value in arrays().items()}
    network = load_pretrained(str(folder(tmp_path, half))).encoder
    assert network.embeddings.word_embeddings.weight.dtype == paddle.float32
    exact = {name: value.astype(np.float32) for name, value in half.items()}
    assert np.abs(outputs(network)[0] - bert(exact)[0]).max() < 1e-5


def test_a_pooler_that_is_not_there_is_started_anew_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = folder(tmp_path, arrays(pooler=False))
    with caplog.at_level(logging.INFO):
        paddle.seed(1)
        first = outputs(load_pretrained(str(path)).encoder)
    assert "there is no pooler, so that one is started anew" in caplog.text
    paddle.seed(1)
    again = outputs(load_pretrained(str(path)).encoder)
    assert np.array_equal(first[1], again[1]) and np.abs(first[0] - bert(arrays())[0]).max() < 1e-5


@pytest.mark.parametrize(
    "named",
    [{"model_type": "roberta"}, {"model_type": "xlm-roberta"}, {"model_type": None, "architectures": ["RobertaModel"]}],
    ids=["roberta", "xlm-roberta", "by-class"],
)
def test_a_roberta_pads_with_1_where_its_config_does_not_say(named: dict[str, Any], tmp_path: Path) -> None:
    silent = folder(tmp_path / "silent", arrays(), **named)
    said = folder(tmp_path / "said", arrays(), **named, pad_token_id=1)
    for found, expected in zip(
        outputs(load_pretrained(str(silent)).encoder), outputs(load_pretrained(str(said)).encoder)
    ):
        assert np.array_equal(found, expected)
    assert usable_positions(load_pretrained(str(silent)).encoder) == POSITIONS - 2
    assert planned_positions(ModelConfig(pretrained=str(silent)), pad_id=0) == POSITIONS - 2


def test_an_electra_has_four_heads_where_its_config_does_not_say() -> None:
    silent = {key: value for key, value in CONFIG.items() if key != "num_attention_heads"}
    assert numbers_of({**silent, "model_type": "electra"}, Path("x"))[0]["num_attention_heads"] == 4
    assert numbers_of({**CONFIG, "model_type": "electra"}, Path("x"))[0]["num_attention_heads"] == 2


def test_what_belongs_to_heads_is_left_out_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stored = arrays("bert.") | {"classifier.weight": np.ones((3, WIDTH), np.float32), "classifier.bias": np.ones(3)}
    with caplog.at_level(logging.INFO):
        load_pretrained(str(folder(tmp_path, stored)))
    assert "left out, as parts of heads: classifier.bias, classifier.weight" in caplog.text


def test_an_encoder_is_the_same_after_saving(tmp_path: Path) -> None:
    network = load_pretrained(str(folder(tmp_path / "theirs", arrays(), layer_norm_eps=1e-4))).encoder
    network.save_pretrained(str(tmp_path / "ours"), safe_serialization=True)
    again = load_pretrained(str(tmp_path / "ours")).encoder
    assert np.array_equal(outputs(again)[0], outputs(network)[0])
    assert again.encoder.layers[0].norm1._epsilon == again.embeddings.layer_norm._epsilon == 1e-4


# ---- the head for masked tokens


def test_a_head_for_masked_tokens_is_taken_along(tmp_path: Path) -> None:
    stored = arrays("bert.") | head()
    found = load_pretrained(str(folder(tmp_path, stored))).masked_tokens
    assert set(found) == {"transform.weight", "transform.bias", "norm.weight", "norm.bias", "bias"}
    assert np.array_equal(found["transform.weight"], stored["cls.predictions.transform.dense.weight"].T)
    assert np.array_equal(found["bias"], stored["cls.predictions.bias"])


ACTS = {"ernie": "relu", "bert": "relu", "roberta": "gelu", "electra": "gelu"}  # of transformers' heads in a relu model


@pytest.mark.parametrize(("family", "act"), ACTS.items())
def test_a_head_for_masked_tokens_has_the_activation_that_transformers_gives_it(
    family: str, act: str, tmp_path: Path
) -> None:
    changes = {"model_type": family, "hidden_act": "relu", "pad_token_id": 0}
    model = load_model(str(folder(tmp_path, arrays("bert.") | head(), **changes)))
    model.eval()
    own, positions = model.masked_token_head, np.array([1, 7])
    batch = Batch("", ("0", "1"), IDS, IDS * 0, np.ones_like(IDS), masked_positions=positions)
    with paddle.no_grad():
        found = model(batch, SignalRequest(logits=True)).logits.numpy()
        sequence = paddle.to_tensor(outputs(model.encoder)[0].reshape(-1, WIDTH)[positions])
        hidden = own.norm(getattr(paddle.nn.functional, act)(own.transform(sequence)))
        expected = hidden @ model.encoder.embeddings.word_embeddings.weight.T + own.bias
    assert np.abs(found - expected.numpy()).max() < 1e-5


def test_a_head_with_an_output_matrix_of_its_own_is_left_out() -> None:
    stored = arrays("bert.") | head()
    words = stored["bert.embeddings.word_embeddings.weight"]
    tied = convert(stored | {"cls.predictions.decoder.weight": words}, Path("file"))
    assert tied.masked_tokens and not tied.left_out
    apart = convert(stored | {"cls.predictions.decoder.weight": words + 1}, Path("file"))
    assert not apart.masked_tokens and len(apart.left_out) == 6


# ---- files


def test_weights_in_several_files(tmp_path: Path) -> None:
    whole = folder(tmp_path / "whole", arrays())
    parts = tmp_path / "parts"
    shutil.copytree(whole, parts)
    (parts / "model.safetensors").unlink()
    places = {name: f"model-0000{1 + number % 2}-of-00002.safetensors" for number, name in enumerate(arrays())}
    for place in set(places.values()):
        save_file({name: value for name, value in arrays().items() if places[name] == place}, parts / place)
    (parts / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}), encoding="utf-8")
    assert np.array_equal(
        outputs(load_pretrained(str(parts)).encoder)[0], outputs(load_pretrained(str(whole)).encoder)[0]
    )
    (parts / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(InputError, match="names 2 files, and model-00002-of-00002.safetensors is not there"):
        load_pretrained(str(parts))


def test_bfloat16_holds_the_upper_half_of_a_float(tmp_path: Path) -> None:
    values = {name: (value.view(np.uint32) & 0xFFFF0000).view(np.float32) for name, value in arrays().items()}
    header, data = {}, b""
    for name, value in values.items():
        whole = name.startswith("pooler")  # a file may hold other numbers beside
        stored = value.tobytes() if whole else (value.view(np.uint32) >> 16).astype("<u2").tobytes()
        offsets = [len(data), len(data) + len(stored)]
        header[name] = {"dtype": "F32" if whole else "BF16", "shape": value.shape, "data_offsets": offsets}
        data += stored
    path = folder(tmp_path, values)
    text = json.dumps(header).encode()
    (path / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    for found, expected in zip(outputs(load_pretrained(str(path)).encoder), bert(values)):
        assert np.abs(found - expected).max() < 1e-5


# ---- what cannot be read


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden_act": "swiglu"}, "hidden_act = 'swiglu' is not computed here"),
        ({"is_decoder": True}, "is_decoder = True is not computed here"),
        ({"quantization_config": {"bits": 4}}, "quantization_config = {'bits': 4} is not computed here"),
        ({"num_hidden_layers": 3}, "holds no encoder.layers.2."),
        ({"hidden_size": 16}, "word_embeddings.weight is [20, 8] there, and [20, 16] by config.json"),
    ],
)
def test_a_config_that_does_not_fit(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_pretrained(str(folder(tmp_path, arrays(), **changes)))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "encoder.layer.0.attention.self.distance_embedding.weight",
        "embeddings.rotary.weight",
    ],
)
def test_an_array_that_no_family_has_is_not_dropped(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="within the encoder: no family that can be read has that"):
        load_pretrained(str(folder(tmp_path, arrays() | {name: np.ones((2, 2), np.float32)})))
