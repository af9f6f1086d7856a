"""One encoder with its heads: what it answers, and its folder on disk, bit for bit."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddlenlp.transformers import AutoModel

from ernie_tiny.batch import Batch
from ernie_tiny.errors import InputError
from ernie_tiny.kind_facts import CANDIDATE, POSITION, ROW
from ernie_tiny.models.backbone import append_layers, build_encoder, drop_layers
from ernie_tiny.models.forms import MASKED_LOGIT, HeadSpec
from ernie_tiny.models.multitask import MultiTaskModel, SingleTaskModel, load_model, save_model
from ernie_tiny.models.signals import SignalRequest
from tests.shapes import TINY

VOCABULARY, LENGTH = 40, 6
SHAPE = {**TINY, "vocab_size": VOCABULARY, "task_type_vocab_size": 0}
HEADS = (
    HeadSpec("topic", ROW, 3, ("故事", "文化", "娱乐")),
    HeadSpec("idiom", CANDIDATE, 1),
    HeadSpec("reading", POSITION, 2),
)
LOGITS = SignalRequest(logits=True)


@pytest.fixture
def model() -> MultiTaskModel:
    paddle.seed(2)
    network = MultiTaskModel(build_encoder("ernie", SHAPE), HEADS, masked_tokens=True)
    for parameter in network.parameters():  # biases too, and large enough that a lost weight shows
        parameter.set_value(parameter + 0.1 * paddle.randn(parameter.shape))
    network.eval()
    return network


def batch_of(task: str, rows: int = 4, **more) -> Batch:
    ids = np.random.default_rng(rows).integers(1, VOCABULARY, (rows, LENGTH))
    mask = np.ones((rows, LENGTH), np.int64)
    mask[-1, 4:] = 0
    return Batch(task, tuple(map(str, range(rows))), ids, np.zeros_like(ids), mask, **more)


def batches() -> list[Batch]:
    return [
        batch_of("topic"),
        batch_of("idiom", num_choices=2, choice_mask=np.array([[1, 1], [1, 0]])),
        batch_of("reading"),
        batch_of("", masked_positions=np.array([0, 7, 20])),
    ]


def test_each_task_is_answered_by_its_head(model):
    assert [model(batch, LOGITS).logits.shape for batch in batches()] == [
        [4, 3],
        [2, 2],
        [4, 2, 6],
        [3, VOCABULARY],
    ]


def test_regression_gives_one_number(model):
    model.add_head(HeadSpec("similarity", ROW, 1))
    assert model(batch_of("similarity"), LOGITS).logits.shape == [4, 1]


@pytest.mark.parametrize("family", ["ernie", "roberta"])
def test_an_encoder_of_one_token_type_reads_both_texts_as_that(family):
    paddle.seed(2)
    model = MultiTaskModel(build_encoder(family, {**SHAPE, "type_vocab_size": 1}), HEADS)
    model.eval()
    batch = batch_of("topic")
    pairs = dataclasses.replace(batch, token_type_ids=np.ones_like(batch.input_ids))
    expected = model(batch, LOGITS).logits.numpy()
    assert np.array_equal(model(pairs, LOGITS).logits.numpy(), expected)
    arrays = map(paddle.to_tensor, (pairs.input_ids, pairs.token_type_ids, pairs.attention_mask))
    assert np.array_equal(SingleTaskModel(model, "topic")(*arrays).numpy(), expected)


def test_padded_candidates_and_positions_cannot_be_chosen(model):
    choice = model(batches()[1], LOGITS).logits.numpy()
    assert (choice == MASKED_LOGIT).tolist() == [[False, False], [False, True]]
    span = model(batches()[2], LOGITS).logits.numpy()
    assert (span[3, :, 4:] == MASKED_LOGIT).all() and (span[:3] != MASKED_LOGIT).all()


@pytest.mark.parametrize("family", ["ernie", "bert", "roberta", "electra"])
def test_a_head_of_the_first_token_trains_the_last_layer_as_the_whole_layer_would(family):
    """Without the last layer's output at other tokens logits and gradients are the same; a tap has it computed."""
    paddle.seed(2)
    shape = {**SHAPE, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = MultiTaskModel(build_encoder(family, shape), HEADS[:1])
    found, lengths = [], []
    model.encoder.encoder.layers[-1].norm2.register_forward_post_hook(lambda *given: lengths.append(given[2].shape[1]))
    for request in (LOGITS, SignalRequest(logits=True, hidden=frozenset([1]))):
        model.clear_gradients()
        logits = model(batch_of("topic"), request).logits
        logits.square().mean().backward()
        found.append([logits.numpy(), *(each.grad.numpy() for each in model.parameters() if each.grad is not None)])
    assert lengths == [1, LENGTH]
    for own, other in zip(*found):
        np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-6)


def test_general_text_needs_no_head_where_no_logits_are_asked_for(model):
    assert model(batch_of(""), SignalRequest(hidden=frozenset([0]))).hidden[0].shape == [4, LENGTH, 16]


def test_the_last_layer_drops_out_at_the_first_token_too(model):
    model.train()
    batch = batch_of("topic")
    for layer in model.sublayers():
        if isinstance(layer, paddle.nn.Dropout):
            layer.p = 0.0
        if isinstance(layer, paddle.nn.MultiHeadAttention):
            layer.dropout = 0.0
    kept, last = model(batch, LOGITS).logits.numpy(), model.encoder.encoder.layers[-1]
    for name in ("dropout1", "dropout", "dropout2"):
        assert np.array_equal(model(batch, LOGITS).logits.numpy(), kept)
        getattr(last, name).p = 0.5
        assert not np.array_equal(model(batch, LOGITS).logits.numpy(), kept)
        getattr(last, name).p = 0.0


def test_masked_tokens_train_the_word_embeddings_through_both_ends(model):
    batch = batches()[3]
    model(batch, LOGITS).logits.square().mean().backward()
    gradient = model.encoder.embeddings.word_embeddings.weight.grad.numpy()
    assert np.abs(gradient).sum(axis=1).all()  # absent words too: the output matrix is the embedding
    names = [name for name, _ in model.named_parameters()]
    assert sum("word_embeddings" in name for name in names) == 1


def test_masked_tokens_need_their_head():
    plain = MultiTaskModel(build_encoder("ernie", SHAPE))
    with pytest.raises(ValueError, match="masked tokens"):
        plain(batches()[3], LOGITS)


def test_a_head_that_is_there_is_kept_and_another_refused(model):
    head = model.heads["topic"]
    model.add_head(HEADS[0])
    assert model.heads["topic"] is head and len(model.heads) == 3
    for other in (
        HeadSpec("topic", ROW, 3, ("故事", "娱乐", "文化")),
        HeadSpec("topic", ROW, 2, ("故事", "文化")),
        HeadSpec("topic", CANDIDATE, 1),
    ):
        with pytest.raises(InputError, match="task topic: .*'故事', '文化', '娱乐'"):
            model.add_head(other)
    assert model.heads["topic"] is head


def test_a_new_head_does_not_touch_the_others(model):
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    model.add_head(HeadSpec("new", ROW, 2, ("a", "b")))
    after = model.state_dict()
    assert all(np.array_equal(after[name].numpy(), value) for name, value in before.items())
    assert set(after) - set(before) == {"heads.new.dense.weight", "heads.new.dense.bias"}


# ---- on disk


@pytest.mark.parametrize("family", ["ernie", "bert", "roberta"])
def test_a_saved_model_is_read_back_bit_for_bit(family, tmp_path):
    model = MultiTaskModel(build_encoder(family, SHAPE), HEADS, masked_tokens=True)
    for parameter in model.parameters():
        parameter.set_value(parameter + 0.1 * paddle.randn(parameter.shape))
    save_model(model, tmp_path / "new" / "model")
    loaded = load_model(str(tmp_path / "new" / "model"))
    weights, found = model.state_dict(), loaded.state_dict()
    assert list(found) == list(weights)
    assert all(np.array_equal(found[name].numpy(), weights[name].numpy()) for name in weights)
    assert loaded.head_specs == model.head_specs
    model.eval(), loaded.eval()
    for batch in batches():
        assert np.array_equal(model(batch, LOGITS).logits.numpy(), loaded(batch, LOGITS).logits.numpy())


def test_a_saved_model_is_a_plain_paddlenlp_folder(model, tmp_path):
    save_model(model, tmp_path)
    encoder = AutoModel.from_pretrained(str(tmp_path))
    weights, found = model.encoder.state_dict(), encoder.state_dict()
    assert list(found) == list(weights)
    assert all(np.array_equal(found[name].numpy(), weights[name].numpy()) for name in weights)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json", "heads.json", "heads.safetensors", "model.safetensors",
    ]  # fmt: skip


def test_labels_are_readable_in_the_folder(model, tmp_path):
    save_model(model, tmp_path)
    text = (tmp_path / "heads.json").read_text(encoding="utf-8")
    assert "故事" in text
    assert json.loads(text)["heads"][0] == {
        "task": "topic",
        "form": "per row",
        "outputs": 3,
        "labels": list(HEADS[0].labels),
    }


@pytest.mark.parametrize(
    ("item", "spec"),
    [
        ({"task": "topic", "kind": "classification", "labels": ["a", "b"]}, HeadSpec("topic", ROW, 2, ("a", "b"))),
        ({"task": "sts", "kind": "regression", "labels": []}, HeadSpec("sts", ROW, 1)),
        ({"task": "idiom", "kind": "choice", "labels": []}, HeadSpec("idiom", CANDIDATE, 1)),
        ({"task": "reading", "kind": "span", "labels": []}, HeadSpec("reading", POSITION, 2)),
    ],
)
def test_heads_of_older_folders_are_still_read(tmp_path, item, spec):
    network = MultiTaskModel(build_encoder("ernie", SHAPE), [spec])
    save_model(network, tmp_path)
    content = json.dumps({"heads": [item], "masked_tokens": False})
    (tmp_path / "heads.json").write_text(content, encoding="utf-8")
    loaded = load_model(str(tmp_path))
    assert list(loaded.head_specs.values()) == [spec]
    weights = network.heads[spec.task].dense.weight.numpy()
    assert np.array_equal(loaded.heads[spec.task].dense.weight.numpy(), weights)


def test_a_model_without_heads_is_read_back(tmp_path):
    plain = MultiTaskModel(build_encoder("ernie", SHAPE))
    save_model(plain, tmp_path)
    loaded = load_model(str(tmp_path))
    assert loaded.head_specs == {} and loaded.masked_token_head is None
    assert list(loaded.state_dict()) == list(plain.state_dict())


def test_an_encoder_of_paddlenlp_is_a_model_without_heads(model, tmp_path):
    model.encoder.save_pretrained(str(tmp_path), safe_serialization=True)
    loaded = load_model(str(tmp_path))
    assert loaded.head_specs == {} and loaded.num_layers == 2


def test_the_depth_that_is_saved_is_that_of_the_stack(model, tmp_path):
    expected = model(batches()[0], LOGITS).logits.numpy()
    append_layers(model.encoder, 2)
    save_model(model, tmp_path / "deep")
    assert load_model(str(tmp_path / "deep")).num_layers == 4
    drop_layers(model.encoder, 2)
    save_model(model, tmp_path / "dropped")
    loaded = load_model(str(tmp_path / "dropped"))
    loaded.eval()
    assert loaded.num_layers == 2
    assert np.array_equal(loaded(batches()[0], LOGITS).logits.numpy(), expected)


def test_saving_again_replaces_what_was_there(model, tmp_path: Path):
    save_model(model, tmp_path)
    model.add_head(HeadSpec("new", POSITION, 2))
    save_model(model, tmp_path)
    assert list(load_model(str(tmp_path)).head_specs) == ["topic", "idiom", "reading", "new"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"heads": [{"task": "topic"}], "masked_tokens": false}'])
def test_a_damaged_list_of_heads_is_refused(model, tmp_path, text):
    save_model(model, tmp_path)
    (tmp_path / "heads.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"heads\.json .* is damaged"):
        load_model(str(tmp_path))


@pytest.mark.parametrize("kept", [None, 0, 100])
def test_damaged_weights_of_heads_are_refused(model, tmp_path, kept):
    save_model(model, tmp_path)
    path = tmp_path / "heads.safetensors"
    content = path.read_bytes()
    path.unlink()
    if kept is not None:
        path.write_bytes(content[:kept])
    with pytest.raises(InputError, match=r"heads\.safetensors is damaged"):
        load_model(str(tmp_path))


def test_heads_and_weights_that_do_not_fit_are_refused(model, tmp_path):
    save_model(model, tmp_path)
    text = (tmp_path / "heads.json").read_text(encoding="utf-8")
    (tmp_path / "heads.json").write_text(text.replace("topic", "other"), encoding="utf-8")
    with pytest.raises(InputError, match=r"has nothing for heads\.other\.dense\.weight"):
        load_model(str(tmp_path))
    (tmp_path / "heads.json").write_text(text.replace('"outputs": 3', '"outputs": 2'), encoding="utf-8")
    with pytest.raises(InputError, match=r"has \[16, 3\] for heads\.topic\.dense\.weight.* needs \[16, 2\]"):
        load_model(str(tmp_path))


# ---- one task, as it is deployed


@pytest.mark.parametrize("index", range(3))
def test_one_task_answers_as_in_the_whole_model(model, index):
    batch = batches()[index]
    single = SingleTaskModel(model, batch.task)
    single.eval()
    arrays = (batch.input_ids, batch.token_type_ids, batch.attention_mask)
    logits = single(*(paddle.to_tensor(array) for array in arrays)).numpy()
    expected = model(batch, LOGITS).logits.numpy()
    if batch.choice_mask is not None:
        assert logits.shape == (4, 1)
        logits = np.where(batch.choice_mask, logits.reshape(2, 2), MASKED_LOGIT)
    np.testing.assert_allclose(logits, expected, atol=1e-6)
