"""A pruned model answers texts of its tokens as the whole one does, masked tokens too."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import paddle
import pytest

from ernie_tiny.batch import Batch
from ernie_tiny.kind_facts import ROW
from ernie_tiny.models.backbone import build_encoder, count_parameters
from ernie_tiny.models.forms import HeadSpec
from ernie_tiny.models.multitask import MultiTaskModel, load_model, save_model
from ernie_tiny.models.pruning import prune_vocabulary
from ernie_tiny.models.signals import SignalRequest

SHAPES = {
    "ernie": {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32,
              "vocab_size": 50, "max_position_embeddings": 12, "type_vocab_size": 2, "pad_token_id": 0},
    "bilstm": {"num_hidden_layers": 1, "hidden_size": 8, "embedding_size": 6, "vocab_size": 50, "pad_token_id": 0,
               "sep_token_id": 11},
}  # fmt: skip
KEPT = [0, 1, 2, 3, 4, 7, 11, 12, 30, 49]
HEADS = [HeadSpec("topic", ROW, 3, ("a", "b", "c"))]
ANSWER = SignalRequest(logits=True)


def build(family: str) -> MultiTaskModel:
    paddle.seed(3)
    model = MultiTaskModel(build_encoder(family, SHAPES[family]), HEADS, masked_tokens=family == "ernie")
    for name, value in model.state_dict().items():
        if "bias" in name:
            value.set_value(np.random.default_rng(len(name)).normal(size=value.shape).astype("float32"))
    model.eval()
    return model


def batches() -> tuple[Batch, Batch]:
    """A batch in the old ids and the same one in the new ids."""
    new = np.random.default_rng(1).integers(1, len(KEPT), (3, 8))
    mask = np.ones_like(new)
    new[:, 2] = KEPT.index(11)
    new[1, 5:], mask[1, 5:] = 0, 0
    batch = Batch("topic", ("a", "b", "c"), np.array(KEPT)[new], np.zeros_like(new), mask)
    return batch, dataclasses.replace(batch, input_ids=new)


@pytest.mark.parametrize("family", list(SHAPES))
def test_answers_are_those_of_the_whole_model(family: str) -> None:
    model = build(family)
    pruned = prune_vocabulary(model, KEPT)
    pruned.eval()
    before, after = batches()
    found, expected = pruned(after, ANSWER).logits.numpy(), model(before, ANSWER).logits.numpy()
    assert np.array_equal(found, expected) and np.ptp(expected)
    width = model.encoder.embeddings.word_embeddings.weight.shape[1]
    assert count_parameters(model.encoder) - count_parameters(pruned.encoder) == (50 - len(KEPT)) * width


def test_masked_tokens_have_the_logits_of_the_kept_ones() -> None:
    model = build("ernie")
    pruned = prune_vocabulary(model, KEPT)
    pruned.eval()
    before, after = (dataclasses.replace(batch, masked_positions=np.array([1, 9, 17])) for batch in batches())
    found, expected = pruned(after, ANSWER).logits.numpy(), model(before, ANSWER).logits.numpy()
    assert found.shape == (3, len(KEPT))
    np.testing.assert_allclose(found, expected[:, KEPT], atol=1e-6)


def test_it_is_saved_and_loaded_like_any_model(tmp_path: Path) -> None:
    pruned = prune_vocabulary(build("ernie"), KEPT)
    save_model(pruned, tmp_path)
    loaded = load_model(str(tmp_path))
    assert loaded.encoder.config.vocab_size == len(KEPT) and loaded.head_specs == pruned.head_specs
    for name, value in loaded.state_dict().items():
        assert np.array_equal(value.numpy(), pruned.state_dict()[name].numpy()), name


def test_the_whole_model_is_untouched() -> None:
    model = build("ernie")
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    prune_vocabulary(model, KEPT)
    assert model.encoder.config.vocab_size == 50
    for name, value in model.state_dict().items():
        assert np.array_equal(value.numpy(), before[name]), name
