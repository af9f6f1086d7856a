"""A real encoder from Hugging Face's hub, against the numbers that PyTorch gives for eight inputs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from ernie_tiny.batch import Batch
from ernie_tiny.data.tokenizer import JsonTokenizer, load_tokenizer
from ernie_tiny.engines import Signature, load
from ernie_tiny.engines.export import export_network
from ernie_tiny.models.backbone import load_pretrained
from ernie_tiny.models.signals import SignalRequest, Signals, tap

FOLDER = Path(os.environ.get("ERNIE_TINY_MODELS", "")) / "e5-small-zh"
pytestmark = pytest.mark.skipif(
    "ERNIE_TINY_MODELS" not in os.environ or not FOLDER.is_dir(),
    reason="ERNIE_TINY_MODELS names no folder that holds e5-small-zh",
)
REQUEST = SignalRequest(embeddings=True, hidden=frozenset({5, 11}), projections=frozenset({11}))
OUTPUTS = ("hidden0", "hidden6", "hidden12", "last_query", "last_key", "last_value")
BOUND = 1e-4


@pytest.fixture(scope="module")
def tokenizer() -> JsonTokenizer:
    found = load_tokenizer(FOLDER)
    assert isinstance(found, JsonTokenizer)
    return found


@pytest.fixture(scope="module")
def encoder() -> nn.Layer:
    network = load_pretrained(str(FOLDER)).encoder
    network.eval()
    return network


@pytest.fixture(scope="module")
def inputs() -> list[dict[str, Any]]:
    return json.loads((FOLDER / "reference.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    return dict(np.load(FOLDER / "reference.npz"))


class Inside(nn.Layer):
    """An encoder from a batch's arrays to the signals that the reference has."""

    def __init__(self, encoder: nn.Layer) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: paddle.Tensor, token_type_ids: paddle.Tensor, attention_mask: paddle.Tensor) -> list:
        signals = Signals(attention_mask)
        with tap(self.encoder, REQUEST, signals):
            self.encoder(input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask)
        projections = (signals.queries[11], signals.keys[11], signals.values[11])
        return [signals.embeddings, signals.hidden[5], signals.hidden[11], *projections]


def batch_of(ids: np.ndarray) -> Batch:
    row = ids[None].astype(np.int64)
    return Batch("", ("0",), row, np.zeros_like(row), np.ones_like(row))


def test_ids_offsets_and_pairs_are_the_references(tokenizer, inputs, reference) -> None:
    assert (tokenizer.separators, tokenizer.second_type, len(inputs)) == (2, 0, 8)
    for number, item in enumerate(inputs):
        texts = [tokenizer.encode(text) for text in (item["first"], item["second"]) if text is not None]
        ids, offsets = [tokenizer.cls_id], [[0, 0]]
        for place, (found, where) in enumerate(texts):
            separators = tokenizer.separators if place + 1 < len(texts) else 1
            ids += [*found, *[tokenizer.sep_id] * separators]
            offsets += [*where.tolist(), *[[0, 0]] * separators]
        assert ids == reference[f"{number}.ids"].tolist() and offsets == reference[f"{number}.offsets"].tolist()


def test_hidden_states_and_projections_are_pytorchs(encoder, reference) -> None:
    network = Inside(encoder)
    for number in range(8):
        batch = batch_of(reference[f"{number}.ids"])
        with paddle.no_grad():
            found = network(*(paddle.to_tensor(array) for array in (batch.input_ids, batch.token_type_ids)),
                            paddle.to_tensor(batch.attention_mask))  # fmt: skip
        for name, value in zip(OUTPUTS, found):
            assert np.abs(value.numpy()[0] - reference[f"{number}.{name}"]).max() < BOUND, (number, name)


def test_the_exported_network_gives_them_too(encoder, reference, tmp_path) -> None:
    export_network(Inside(encoder), tmp_path)
    engine = load(tmp_path, Signature(dict.fromkeys(OUTPUTS, 1)))
    for number in range(8):
        found = engine(batch_of(reference[f"{number}.ids"]))
        for name in OUTPUTS:
            assert np.abs(found[name][0] - reference[f"{number}.{name}"]).max() < BOUND, (number, name)


def test_a_model_that_is_saved_is_the_same(encoder, reference, tmp_path) -> None:
    encoder.save_pretrained(str(tmp_path), safe_serialization=True)
    again = load_pretrained(str(tmp_path)).encoder
    again.eval()
    arrays = batch_of(reference["1.ids"])
    tensors = [paddle.to_tensor(array) for array in (arrays.input_ids, arrays.token_type_ids, arrays.attention_mask)]
    with paddle.no_grad():
        pairs = zip(Inside(encoder)(*tensors), Inside(again)(*tensors))
        assert all(np.array_equal(own.numpy(), other.numpy()) for own, other in pairs)


def test_a_tokenizer_that_is_saved_is_the_same(tokenizer, tmp_path) -> None:
    tokenizer.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert again.fingerprint == tokenizer.fingerprint and again.special_ids == tokenizer.special_ids
