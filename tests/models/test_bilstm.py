"""The BiLSTM student against an independent NumPy version, under padding, on disk and exported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import paddle
import pytest

from ernie_tiny.batch import Batch
from ernie_tiny.data.clue import find_task
from ernie_tiny.data.task import Example, TaskSpec
from ernie_tiny.data.tokenizer import SPECIAL_TOKENS, Tokenizer
from ernie_tiny.errors import InputError
from ernie_tiny.kind_facts import CANDIDATE, ROW
from ernie_tiny.kinds.ask import add_head, featurise, head_of
from ernie_tiny.models.backbone import build_encoder, copy_word_embeddings, count_embedding_parameters, load_pretrained
from ernie_tiny.models.bilstm import BiLstmModel, SegmentPooling
from ernie_tiny.models.forms import HeadSpec
from ernie_tiny.models.multitask import MultiTaskModel, load_model, save_model
from ernie_tiny.models.signals import SignalRequest
from ernie_tiny.serving.export import check_parity, export_model
from tests.serving.test_export import EXAMPLES, TEXT

VOCABULARY = 30
SHAPE = {"num_hidden_layers": 2, "hidden_size": 8, "embedding_size": 6, "vocab_size": VOCABULARY, "type_vocab_size": 2}
HEADS = (HeadSpec("topic", ROW, 3, ("故事", "文化", "娱乐")), HeadSpec("idiom", CANDIDATE, 1))
LENGTHS, FIRST = (7, 4, 1), (3, 4, 1)  # tokens of each row, and how many of them belong to its first text
LOGITS = SignalRequest(logits=True)


def encoder(**changes: float) -> BiLstmModel:
    paddle.seed(4)
    network = build_encoder("bilstm", {**SHAPE, **changes})
    for parameter in network.parameters():  # biases too, and large enough that a lost weight shows
        parameter.set_value(parameter + 0.3 * paddle.randn(parameter.shape))
    network.eval()
    return network


def inputs(length: int = 7) -> dict[str, np.ndarray]:
    """A pair, a single text and a lone token, padded to a length with a token that must not matter."""
    ids = np.full((3, length), 29)
    ids[:, :7] = np.random.default_rng(0).integers(1, 29, (3, 7))
    columns = np.arange(length)
    mask = (columns < np.array(LENGTHS)[:, None]).astype(np.int64)
    types = (columns >= np.array(FIRST)[:, None]).astype(np.int64) * mask
    return {"input_ids": ids, "token_type_ids": types, "attention_mask": mask}


def run(network: paddle.nn.Layer, arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    sequence, pooled = network(**{name: paddle.to_tensor(array) for name, array in arrays.items()})
    return sequence.numpy(), pooled.numpy()


def batch_of(task: str, arrays: dict[str, np.ndarray], **more: object) -> Batch:
    return Batch(task, tuple(map(str, range(len(arrays["input_ids"])))), **arrays, **more)


# ---- the same in NumPy, row by row, without padding


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def lstm(inputs: np.ndarray, weights: dict[str, np.ndarray], suffix: str) -> np.ndarray:
    """[length, width] to [length, hidden_size / 2]; gates in the order input, forget, cell, output."""
    state = cell = np.zeros(weights[f"weight_hh_l0{suffix}"].shape[1])
    states = []
    for token in inputs:
        gates = weights[f"weight_ih_l0{suffix}"] @ token + weights[f"bias_ih_l0{suffix}"]
        gates = gates + weights[f"weight_hh_l0{suffix}"] @ state + weights[f"bias_hh_l0{suffix}"]
        into, kept, new, out = np.split(gates, 4)
        cell = sigmoid(kept) * cell + sigmoid(into) * np.tanh(new)
        state = sigmoid(out) * np.tanh(cell)
        states.append(state)
    return np.array(states)


def forward(network: BiLstmModel, ids: np.ndarray, types: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two outputs for one row of real tokens."""
    weights = {name: value.numpy().astype(np.float64) for name, value in network.state_dict().items()}
    hidden = weights["embeddings.word_embeddings.weight"][ids]
    hidden = hidden + weights["embeddings.token_type_embeddings.weight"][types]
    centred = hidden - hidden.mean(-1, keepdims=True)
    hidden = centred / np.sqrt(hidden.var(-1, keepdims=True) + 1e-5)
    hidden = hidden * weights["embeddings.layer_norm.weight"] + weights["embeddings.layer_norm.bias"]
    for index in range(SHAPE["num_hidden_layers"]):
        prefix = f"encoder.layers.{index}."
        own = {name[len(prefix) :]: value for name, value in weights.items() if name.startswith(prefix)}
        hidden = np.concatenate([lstm(hidden, own, ""), lstm(hidden[::-1], own, "_reverse")[::-1]], axis=-1)
    keys = np.tanh(hidden @ weights["pooling.attention.weight"] + weights["pooling.attention.bias"])
    scores = np.exp(keys @ weights["pooling.query.weight"])  # [length, 1]
    u, v = ((scores * hidden)[types == text].sum(0) / max(scores[types == text].sum(), 1e-9) for text in (0, 1))
    features = np.concatenate([u, v, np.abs(u - v), u * v])
    return hidden, np.tanh(features @ weights["pooling.comparison.weight"] + weights["pooling.comparison.bias"])


def test_the_whole_encoder_equals_numpy_row_by_row():
    network, arrays = encoder(), inputs()
    sequence, pooled = run(network, arrays)
    assert sequence.shape == (3, 7, 8) and pooled.shape == (3, 8)
    for row, length in enumerate(LENGTHS):
        hidden, vector = forward(network, arrays["input_ids"][row, :length], arrays["token_type_ids"][row, :length])
        np.testing.assert_allclose(sequence[row, :length], hidden, atol=1e-5)
        np.testing.assert_allclose(pooled[row], vector, atol=1e-5)
        assert not sequence[row, length:].any()


def test_more_padding_changes_nothing():
    network = encoder()
    sequence, pooled = run(network, inputs())
    longer, same = run(network, inputs(12))
    np.testing.assert_allclose(longer[:, :7], sequence, atol=1e-6)
    np.testing.assert_allclose(same, pooled, atol=1e-6)
    assert not longer[:, 7:].any()


def loss_of(network: BiLstmModel, arrays: dict[str, np.ndarray]) -> paddle.Tensor:
    sequence, pooled = network(**{name: paddle.to_tensor(array) for name, array in arrays.items()})
    return sequence.square().sum() + pooled.square().sum()


def test_gradients_are_those_of_finite_differences_and_none_at_padding():
    network, arrays = encoder(hidden_dropout_prob=0.0), inputs(9)
    network.train()
    loss_of(network, arrays).backward()
    moved = network.embeddings.word_embeddings.weight.grad.numpy().any(axis=-1)
    real = set(arrays["input_ids"][arrays["attention_mask"] == 1])
    assert set(np.flatnonzero(moved)) == real and 29 not in real
    for name, parameter in network.named_parameters():
        weights, gradient = parameter.numpy(), parameter.grad.numpy()
        step = gradient / np.linalg.norm(gradient) * 0.01
        losses = []
        for moved_to in (weights + step, weights - step, weights):
            parameter.set_value(moved_to)
            losses.append(float(loss_of(network, arrays)))
        assert losses[0] - losses[1] == pytest.approx(2 * 0.01 * np.linalg.norm(gradient), rel=0.02), name


# ---- pooling, by hand


def pooling(**weights: object) -> SegmentPooling:
    """Of width 2, all weights 0 but those given."""
    layer = SegmentPooling(2)
    for parameter in layer.parameters():
        parameter.set_value(np.zeros(parameter.shape, np.float32))
    for name, value in weights.items():
        getattr(layer, name).weight.set_value(np.array(value, np.float32))
    return layer


def pooled_by(layer: SegmentPooling, tokens: list, types: list, mask: list) -> list:
    arrays = np.array([tokens], np.float32), np.array([types], bool), np.array([mask])
    return layer(*map(paddle.to_tensor, arrays)).numpy()[0].tolist()


U, V, DIFFERENCE, PRODUCT = (np.eye(8)[:, start : start + 2] for start in (0, 2, 4, 6))  # picks one of four features
TOKENS = [[0.2, 0.4], [0.6, 0.0], [-0.5, 0.1], [9.0, 9.0]]


@pytest.mark.parametrize(
    "picked, expected",
    [(U, [0.4, 0.2]), (V, [-0.5, 0.1]), (DIFFERENCE, [0.9, 0.1]), (PRODUCT, [-0.2, 0.02])],
    ids=["u", "v", "|u - v|", "u * v"],
)
def test_a_query_of_zero_takes_the_mean_of_each_text(picked, expected):
    found = pooled_by(pooling(comparison=picked), TOKENS, [0, 0, 1, 0], [1, 1, 1, 0])
    assert found == pytest.approx(np.tanh(expected).tolist(), abs=1e-6)


def test_the_query_weighs_the_tokens():
    # Scores log 3 and 0: the first token, of atanh(log 3 / 4) in its first half, weighs three times the second.
    first = float(np.arctanh(np.log(3) / 4))
    layer = pooling(attention=np.eye(2), query=[[4.0], [0.0]], comparison=U)
    found = pooled_by(layer, [[first, 0.8], [0.0, 0.4], [7.0, 7.0]], [0, 0, 0], [1, 1, 0])
    assert found == pytest.approx([np.tanh(0.75 * first), np.tanh(0.7)], abs=1e-6)


@pytest.mark.parametrize(
    "picked, expected",
    [(U, [0.1, 0.5 / 3]), (V, [0, 0]), (DIFFERENCE, [0.1, 0.5 / 3]), (PRODUCT, [0, 0])],
    ids=["u", "v", "|u - v|", "u * v"],
)
def test_a_single_text_is_a_pair_with_nothing(picked, expected):
    found = pooled_by(pooling(comparison=picked), TOKENS, [0, 0, 0, 1], [1, 1, 1, 0])
    assert found == pytest.approx(np.tanh(expected).tolist(), abs=1e-6)


def test_the_two_texts_of_a_pair_are_told_apart():
    network, arrays = encoder(), inputs()
    single = {**arrays, "token_type_ids": np.zeros_like(arrays["token_type_ids"])}
    difference = np.abs(run(network, arrays)[1] - run(network, single)[1]).max(axis=-1)
    assert difference[0] > 1e-3 and not difference[1:].any()


def test_the_separator_tells_texts_apart_where_token_types_do_not():
    network, arrays = encoder(sep_token_id=28), inputs()
    arrays["token_type_ids"][:] = 0
    arrays["input_ids"][0, 2] = 28  # the last token of the first of two texts
    sequence, pooled = run(network, arrays)
    second = inputs()["token_type_ids"].astype(bool)  # the other rows are of one text
    second[1:] = False
    parts = [paddle.to_tensor(part) for part in (sequence, second, arrays["attention_mask"])]
    np.testing.assert_allclose(pooled, network.pooling(*parts).numpy(), atol=1e-6)
    assert np.abs(pooled - run(encoder(), arrays)[1]).max(axis=-1)[0] > 1e-3


# ---- under heads


def test_heads_for_labels_and_choices_answer():
    model = MultiTaskModel(encoder(), HEADS)
    model.eval()
    assert model.num_layers == 2
    assert model(batch_of("topic", inputs()), LOGITS).logits.shape == [3, 3]
    choice = batch_of("idiom", inputs(), num_choices=3, choice_mask=np.array([[1, 1, 0]]))
    assert model(choice, LOGITS).logits.shape == [1, 3]


def test_spans_are_refused():
    with pytest.raises(InputError, match="task read: a BiLSTM cannot answer it: its tokens are not compared with"):
        add_head(MultiTaskModel(encoder()), TaskSpec("read", "reading", files={}))


def test_it_learns_where_a_word_stands():
    """Whether word 5 comes before word 6 needs their order: a mean of embeddings cannot tell."""
    paddle.seed(0)
    model = MultiTaskModel(
        build_encoder("bilstm", {**SHAPE, "num_hidden_layers": 1, "hidden_dropout_prob": 0.0}),
        [HeadSpec("order", ROW, 2, ("no", "yes"))],
    )
    random = np.random.default_rng(1)
    ids = random.integers(7, VOCABULARY, (32, 8))
    labels = random.integers(0, 2, 32)
    places = np.sort(random.permuted(np.tile(np.arange(8), (32, 1)), axis=1)[:, :2], axis=1)
    ids[np.arange(32), places[:, 0]], ids[np.arange(32), places[:, 1]] = 6 - labels, 5 + labels
    arrays = {"input_ids": ids, "token_type_ids": np.zeros_like(ids), "attention_mask": np.ones_like(ids)}
    optimizer = paddle.optimizer.Adam(2e-2, parameters=model.parameters())
    losses = []
    for _ in range(60):
        logits = model(batch_of("order", arrays), LOGITS).logits
        loss = paddle.nn.functional.cross_entropy(logits, paddle.to_tensor(labels))
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        losses.append(float(loss))
    assert losses[0] > 0.6 and losses[-1] < 0.1


# ---- on disk


def test_a_saved_model_is_read_back_bit_for_bit(tmp_path):
    model = MultiTaskModel(encoder(), HEADS)
    model.eval()
    save_model(model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert config["model_type"] == "bilstm" and config["embedding_size"] == 6
    loaded = load_model(str(tmp_path), hidden_dropout_prob=0.25)
    loaded.eval()
    assert loaded.encoder.config.hidden_dropout_prob == 0.25 and loaded.encoder.config.max_position_embeddings is None
    assert list(loaded.state_dict()) == list(model.state_dict()) and loaded.head_specs == model.head_specs
    for name, value in model.state_dict().items():
        assert np.array_equal(loaded.state_dict()[name].numpy(), value.numpy()), name
    for task in ("topic", "idiom"):
        batch = batch_of(task, inputs(), num_choices=3, choice_mask=np.array([[1, 1, 1]]))
        assert np.array_equal(loaded(batch, LOGITS).logits.numpy(), model(batch, LOGITS).logits.numpy())


def test_every_weight_is_stored_once(tmp_path):
    network = encoder()
    assert list(network.state_dict()) == [name for name, _ in network.named_parameters()]
    network.save_pretrained(str(tmp_path), safe_serialization=True)
    assert (tmp_path / "model.safetensors").stat().st_size < 4 * sum(int(p.size) for p in network.parameters()) + 5000


def test_weights_that_do_not_fit_are_refused(tmp_path):
    encoder().save_pretrained(str(tmp_path), safe_serialization=True)
    file = tmp_path / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    for change, said in (
        ({"num_hidden_layers": 3}, "holds no encoder.layers.2"),
        ({"hidden_size": 10}, "by config.json"),
        ({"hidden_size": "a"}, "cannot be loaded"),
        ({"vocab_size": 31}, "word_embeddings.weight is .30, 6. there, and .31, 6. by config.json"),
    ):
        file.write_text(json.dumps({**config, **change}), encoding="utf-8")
        with pytest.raises(InputError, match=rf"^{tmp_path}.*{said}"):
            load_pretrained(str(tmp_path))
    file.write_text(json.dumps(config), encoding="utf-8")
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError, match="model.safetensors"):
        load_pretrained(str(tmp_path))


# ---- word embeddings of another model


def transformer(hidden_size: int, vocab_size: int = VOCABULARY) -> paddle.nn.Layer:
    shape = {"num_hidden_layers": 1, "hidden_size": hidden_size, "num_attention_heads": 2, "vocab_size": vocab_size}
    return build_encoder("ernie", {**shape, "intermediate_size": 8, "max_position_embeddings": 8, "type_vocab_size": 2})


def test_word_embeddings_alone_are_copied():
    source, target, untouched = transformer(6), encoder(), encoder()
    copy_word_embeddings(source, target)
    own, theirs = target.embeddings.word_embeddings.weight, source.embeddings.word_embeddings.weight
    assert np.array_equal(own.numpy(), theirs.numpy())
    own.set_value(own * 0)  # a copy, not the same tensor
    assert theirs.numpy().any()
    before = untouched.state_dict()
    changed = [name for name, value in target.state_dict().items() if not np.array_equal(value, before[name])]
    assert changed == ["embeddings.word_embeddings.weight"]
    copy_word_embeddings(encoder(hidden_size=4), untouched)  # of a BiLSTM as of a Transformer


@pytest.mark.parametrize("width, tokens", [(8, VOCABULARY), (6, 31)])
def test_word_embeddings_of_another_size_are_refused(width, tokens):
    with pytest.raises(InputError) as caught:
        copy_word_embeddings(transformer(width, tokens), encoder())
    assert f"of {tokens} tokens and width {width}, here of 30 tokens and width 6" in str(caught.value)
    assert f"Set embedding_size to {width}" in str(caught.value)


def test_embeddings_are_counted_with_their_norm():
    assert count_embedding_parameters(encoder()) == (VOCABULARY + 2 + 2) * 6


# ---- exported


@pytest.mark.parametrize("task, types", [("tnews", 1), ("ocnli", 1), ("ocnli", 0), ("c3", 1)])
def test_an_export_equals_the_trained_model_at_several_lengths(task: str, types: int, tmp_path: Path):
    tokenizer, spec = Tokenizer([*SPECIAL_TOKENS, *TEXT]), find_task(task)
    pairs = tuple(Example(str(n), (TEXT[n:], "天气很好"), 0) for n in range(10))
    examples = {**EXAMPLES, "ocnli": pairs}[task]
    tokenizer.second_type = types
    separator = {} if types else {"sep_token_id": tokenizer.sep_id}
    model = MultiTaskModel(encoder(vocab_size=len(tokenizer.tokens), **separator), [head_of(spec)])
    model.eval()
    export_model(model, spec, tokenizer, 24, tmp_path)
    features = featurise(spec, examples, tokenizer, 24)
    assert len({len(ids) for feature in features for ids, _ in feature.sequences}) > 3
    differences = check_parity(tmp_path, model, features, tokenizer.pad_id, 1e-5)
    assert sorted(differences) == ["inference", "static"]
