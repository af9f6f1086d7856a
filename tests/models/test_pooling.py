"""How a row becomes one vector: a value of the model that saving, loading and export keep."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest

from ernie_tiny.batch import Batch
from ernie_tiny.distill.cache import fingerprint_of
from ernie_tiny.engines import Signature, load
from ernie_tiny.engines.export import export_network
from ernie_tiny.models.backbone import build_encoder
from ernie_tiny.models.multitask import MultiTaskModel, load_model, save_model
from ernie_tiny.models.pooling import POOLINGS, encode, pooling_of
from ernie_tiny.models.pruning import prune_vocabulary
from ernie_tiny.models.signals import SignalRequest, Signals
from tests.shapes import TINY

IDS = np.array([[3, 9, 12, 4, 7], [5, 6, 19, 0, 0]])
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


def model(pooling: str = "mean") -> MultiTaskModel:
    paddle.seed(2)
    network = MultiTaskModel(build_encoder("bert", TINY))
    network.encoder.config.pooling = pooling
    network.eval()
    return network


class Pooled(paddle.nn.Layer):
    def __init__(self, network: MultiTaskModel) -> None:
        super().__init__()
        self.encoder = network.encoder

    def forward(self, input_ids: paddle.Tensor, token_type_ids: paddle.Tensor, attention_mask: paddle.Tensor) -> list:
        return list(encode(self.encoder, input_ids, token_type_ids, attention_mask))


def vectors(network: MultiTaskModel, ids: np.ndarray = IDS, mask: np.ndarray = MASK) -> tuple[np.ndarray, np.ndarray]:
    tensors = [paddle.to_tensor(array) for array in (ids, ids * 0, mask)]
    with paddle.no_grad():
        sequence, pooled = Pooled(network)(*tensors)
    return sequence.numpy(), pooled.numpy()


def test_the_mean_is_over_real_tokens() -> None:
    sequence, pooled = vectors(model())
    assert np.abs(pooled[0] - sequence[0].mean(axis=0)).max() < 1e-6
    assert np.abs(pooled[1] - sequence[1, :3].mean(axis=0)).max() < 1e-6


def test_padding_changes_nothing() -> None:
    padded = [np.pad(array, ((0, 0), (0, 4))) for array in (IDS, MASK)]
    assert np.abs(vectors(model(), *padded)[1] - vectors(model())[1]).max() < 1e-6


def test_the_first_token_is_the_default_and_goes_through_the_pooler() -> None:
    network = model()
    del network.encoder.config.pooling
    sequence, pooled = vectors(network)
    assert pooling_of(network.encoder) == "cls" and np.array_equal(pooled, vectors(model("cls"))[1])
    expected = np.tanh(sequence[:, 0] @ network.encoder.pooler.dense.weight.numpy())
    assert np.abs(pooled - expected).max() < 1e-5  # the bias of a new pooler is 0


def test_saving_and_pruning_keep_it(tmp_path: Path) -> None:
    network = model()
    save_model(network, tmp_path)
    again = load_model(str(tmp_path))
    again.eval()
    assert pooling_of(again.encoder) == "mean" and np.array_equal(vectors(again)[1], vectors(network)[1])
    assert pooling_of(prune_vocabulary(again, list(range(20))).encoder) == "mean"


@pytest.mark.parametrize("pooling", POOLINGS)
def test_an_export_keeps_it(pooling: str, tmp_path: Path) -> None:
    network = model(pooling)
    export_network(Pooled(network), tmp_path)
    found = load(tmp_path, Signature({"sequence": 1, "pooled": None}))(Batch("", ("0", "1"), IDS, IDS * 0, MASK))
    assert np.abs(found["pooled"] - vectors(network)[1]).max() < 1e-5


def test_signals_are_read_beside_it() -> None:
    network, signals = model(), Signals(paddle.to_tensor(MASK))
    request = SignalRequest(hidden=frozenset({0}))
    with paddle.no_grad():
        network.encode(paddle.to_tensor(IDS), paddle.to_tensor(IDS * 0), request, signals)
    assert list(signals.hidden) == [0]


def test_a_cache_of_another_pooling_is_another() -> None:
    assert fingerprint_of([model("cls")]) != fingerprint_of([model()])
