"""Projections are what the layers compute, taken without a trace and without work above the last tap."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from ernie_tiny.batch import Batch
from ernie_tiny.family_facts import FACTS
from ernie_tiny.kind_facts import ROW
from ernie_tiny.models.backbone import build_encoder
from ernie_tiny.models.forms import HeadSpec
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.models.signals import SignalRequest, Signals, stopping_after, tap
from tests.shapes import TINY

LAYERS, HIDDEN, VOCABULARY = 3, 16, 40
SHAPE = {**TINY, "num_hidden_layers": LAYERS, "max_position_embeddings": 70, "task_type_vocab_size": 0}
KINDS = ("queries", "keys", "values")


@pytest.fixture(params=[name for name, facts in FACTS.items() if not facts.recurrent])
def model(request) -> MultiTaskModel:
    paddle.seed(1)
    encoder = build_encoder(request.param, SHAPE)
    for parameter in encoder.parameters():  # larger weights than 0.02, so that a mistake shows
        parameter.set_value(parameter + 0.2 * paddle.randn(parameter.shape))
    network = MultiTaskModel(encoder, [HeadSpec("toy", ROW, 3, ("a", "b", "c"))])
    network.eval()
    return network


def batch_of(padding: int = 0) -> Batch:
    """Two inputs of 7 and 4 tokens, padded to 7 + padding with anything: the mask alone must count."""
    rng = np.random.default_rng(3)
    ids = rng.integers(1, VOCABULARY, (2, 7))
    mask = np.ones((2, 7), np.int64)
    mask[1, 4:] = 0
    tail = rng.integers(1, VOCABULARY, (2, padding))
    types = np.concatenate([np.arange(14).reshape(2, 7) % 2, np.zeros((2, padding), np.int64)], axis=1)
    return Batch(
        task="toy",
        example_ids=("0", "1"),
        input_ids=np.concatenate([ids, tail], axis=1),
        token_type_ids=types,
        attention_mask=np.concatenate([mask, np.zeros((2, padding), np.int64)], axis=1),
        labels=np.array([0, 2]),
    )


def hooks_of(encoder) -> int:
    return sum(len(layer._forward_post_hooks) + len(layer._forward_pre_hooks) for layer in encoder.sublayers())


def inputs_of_layers(model: MultiTaskModel, batch: Batch) -> list[np.ndarray]:
    """What each layer reads, from PaddleNLP's own hidden states."""
    ids, types, mask = (
        paddle.to_tensor(array) for array in (batch.input_ids, batch.token_type_ids, batch.attention_mask)
    )
    with paddle.no_grad():
        output = model.encoder(ids, types, attention_mask=mask, output_hidden_states=True, return_dict=True)
    return [state.numpy() for state in output.hidden_states]


def test_projections_are_the_layers_input_times_its_weights(model):
    batch, request = batch_of(), SignalRequest(logits=True, projections=frozenset(range(LAYERS)))
    signals = model(batch, request)
    hidden = inputs_of_layers(model, batch)
    for index in range(LAYERS):
        attention = model.encoder.encoder.layers[index].self_attn
        for kind, projection in zip(KINDS, (attention.q_proj, attention.k_proj, attention.v_proj)):
            expected = hidden[index] @ projection.weight.numpy() + projection.bias.numpy()
            found = getattr(signals, kind)[index].numpy()
            assert found.shape == (2, 7, HIDDEN)
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_only_what_is_asked_for_is_there(model):
    batch = batch_of()
    signals = model(batch, SignalRequest(logits=True))
    assert signals.logits.shape == [2, 3] and not (signals.queries or signals.keys or signals.values)
    signals = model(batch, SignalRequest(projections=frozenset([0, 2])))
    assert signals.logits is None
    assert [set(getattr(signals, kind)) for kind in KINDS] == [{0, 2}] * 3
    assert signals.attention_mask.numpy().tolist() == batch.attention_mask.tolist()


def test_asking_for_projections_does_not_change_the_logits(model):
    plain = model(batch_of(), SignalRequest(logits=True)).logits.numpy()
    asked = model(batch_of(), SignalRequest(logits=True, projections=frozenset([1, 2]))).logits.numpy()
    again = model(batch_of(), SignalRequest(logits=True)).logits.numpy()
    np.testing.assert_allclose(asked, plain, rtol=1e-4, atol=1e-6)  # where none is, the last layer does less
    assert np.array_equal(plain, again)


@pytest.mark.parametrize("last", range(LAYERS))
def test_a_shortened_pass_gives_the_same_projections(model, last):
    projections = frozenset([0, last])
    full = model(batch_of(), SignalRequest(logits=True, projections=projections))
    short = model(batch_of(), SignalRequest(projections=projections))
    for kind in KINDS:
        for index in projections:
            assert np.array_equal(getattr(full, kind)[index].numpy(), getattr(short, kind)[index].numpy())


@pytest.mark.parametrize("last", range(LAYERS))
def test_a_shortened_pass_runs_nothing_above_the_last_tap(model, last):
    calls: list[str] = []

    def count(name):
        return lambda *_: calls.append(name)

    layers = model.encoder.encoder.layers
    handles = [layer.register_forward_pre_hook(count(f"layer{i}")) for i, layer in enumerate(layers)]
    handles += [layer.self_attn.register_forward_pre_hook(count(f"attention{i}")) for i, layer in enumerate(layers)]
    handles += [layer.linear1.register_forward_pre_hook(count(f"inner{i}")) for i, layer in enumerate(layers)]
    model(batch_of(), SignalRequest(projections=frozenset([last])))
    for handle in handles:
        handle.remove()
    # The last tapped layer projects, but neither attends nor feeds forward.
    assert calls == [f"{part}{i}" for i in range(last) for part in ("layer", "attention", "inner")]


@pytest.mark.parametrize("logits", [True, False])
def test_nothing_is_left_behind(model, logits):
    encoder = model.encoder
    layers, names = encoder.encoder.layers, list(model.state_dict())
    model(batch_of(), SignalRequest(logits=logits, projections=frozenset([0, 1])))
    assert hooks_of(encoder) == 0
    assert encoder.encoder.layers is layers and len(layers) == LAYERS
    assert list(model.state_dict()) == names


@pytest.mark.parametrize("logits", [True, False])
def test_nothing_is_left_behind_by_an_exception(model, logits):
    def fail(*_):
        raise MemoryError

    encoder = model.encoder
    layers = encoder.encoder.layers
    handle = layers[0].linear2.register_forward_pre_hook(fail)  # between the two tapped layers
    with pytest.raises(MemoryError):
        model(batch_of(), SignalRequest(logits=logits, projections=frozenset([0, 1])))
    handle.remove()
    assert hooks_of(encoder) == 0
    assert encoder.encoder.layers is layers and len(layers) == LAYERS


def test_blocks_end_even_when_their_body_fails(model):
    encoder = model.encoder
    layers, request = encoder.encoder.layers, SignalRequest(projections=frozenset([1]))
    tapped, shortened = tap(encoder, request, Signals(paddle.ones([1, 1]))), stopping_after(encoder, request)
    with pytest.raises(KeyboardInterrupt), tapped, shortened:
        assert hooks_of(encoder) == 3 and len(encoder.encoder.layers) == 2
        raise KeyboardInterrupt
    assert hooks_of(encoder) == 0 and encoder.encoder.layers is layers


def test_a_layer_that_is_not_there_leaves_no_hook(model):
    with pytest.raises(IndexError):
        model(batch_of(), SignalRequest(logits=True, projections=frozenset([0, LAYERS])))
    assert hooks_of(model.encoder) == 0


@pytest.mark.parametrize("logits", [True, False])
def test_gradients_reach_the_embeddings(model, logits):
    signals = model(batch_of(), SignalRequest(logits=logits, projections=frozenset([1])))
    taken = (signals.queries[1], signals.keys[1], signals.values[1])
    paddle.add_n([tensor.square().mean() for tensor in taken]).backward()
    words = model.encoder.embeddings.word_embeddings.weight
    used = np.unique(batch_of().input_ids)
    assert np.abs(words.grad.numpy()[used]).sum(axis=1).all()
    attention = model.encoder.encoder.layers[1].self_attn
    for projection in (attention.q_proj, attention.k_proj, attention.v_proj):
        assert np.abs(projection.bias.grad.numpy()).sum() > 0
    assert model.encoder.encoder.layers[2].linear1.weight.grad is None  # nothing above takes part


def test_padding_changes_neither_logits_nor_projections_of_real_tokens(model):
    request = SignalRequest(logits=True, projections=frozenset(range(LAYERS)))
    plain, padded = model(batch_of(), request), model(batch_of(padding=50), request)
    np.testing.assert_allclose(padded.logits.numpy(), plain.logits.numpy(), atol=1e-5)
    real = batch_of().attention_mask.astype(bool)
    for kind in KINDS:
        for index in range(LAYERS):
            found, expected = getattr(padded, kind)[index].numpy()[:, :7], getattr(plain, kind)[index].numpy()
            np.testing.assert_allclose(found[real], expected[real], atol=1e-5)


def test_an_input_does_not_depend_on_its_neighbours_in_a_batch(model):
    batch, request = batch_of(), SignalRequest(logits=True)
    arrays = (batch.input_ids, batch.token_type_ids, batch.attention_mask)
    alone = Batch("toy", ("1",), *(array[1:, :4] for array in arrays))
    found, expected = model(alone, request).logits.numpy()[0], model(batch, request).logits.numpy()[1]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_last_layer_of_a_request():
    assert SignalRequest(projections=frozenset([3, 1])).last_layer == 3
    assert SignalRequest(hidden=frozenset([4]), projections=frozenset([3, 1])).last_layer == 4
    assert SignalRequest(logits=True).last_layer == -1


@pytest.mark.parametrize("logits", [True, False])
def test_hidden_states_and_embeddings_are_the_encoders_own(model, logits):
    model.eval()
    batch = batch_of()
    ids, types, mask = map(paddle.to_tensor, (batch.input_ids, batch.token_type_ids, batch.attention_mask))
    states = model.encoder(ids, types, attention_mask=mask, output_hidden_states=True, return_dict=True).hidden_states
    signals = model(batch, SignalRequest(logits, embeddings=True, hidden=frozenset(range(LAYERS))))
    np.testing.assert_allclose(signals.embeddings.numpy(), states[0].numpy(), atol=1e-6)
    for layer in range(LAYERS):
        np.testing.assert_allclose(signals.hidden[layer].numpy(), states[layer + 1].numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("request_", "run"),
    [
        (SignalRequest(embeddings=True), 0),
        (SignalRequest(hidden=frozenset([0])), 1),
        (SignalRequest(hidden=frozenset([0]), projections=frozenset([1])), 1),
        (SignalRequest(hidden=frozenset([1]), projections=frozenset([1])), 2),
    ],
)
def test_nothing_above_the_last_signal_is_computed(model, request_, run):
    calls = []
    for layer in model.encoder.encoder.layers:
        layer.linear2.register_forward_post_hook(lambda *_: calls.append(1))
    model(batch_of(), request_)
    assert len(calls) == run


def test_requests_join():
    joined = SignalRequest(logits=True, hidden=frozenset([1])) | SignalRequest(embeddings=True, hidden=frozenset([2]))
    assert joined == SignalRequest(True, True, frozenset([1, 2]), frozenset())
