"""Parts are judged by what the loss would lose: against gradients of weights, and differences of losses in NumPy."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle import Tensor, nn

from ernie_tiny.batch import Batch
from ernie_tiny.kind_facts import ROW
from ernie_tiny.kinds.classification import CLASSIFICATION
from ernie_tiny.models.backbone import build_encoder, count_parameters
from ernie_tiny.models.forms import HeadSpec
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.models.pruning import keep_heads, keep_neurons
from ernie_tiny.models.signals import SignalRequest
from ernie_tiny.training.importance import importance_of

SHAPE = {"num_hidden_layers": 2, "hidden_size": 8, "num_attention_heads": 4, "intermediate_size": 6, "vocab_size": 30,
         "max_position_embeddings": 12, "type_vocab_size": 2}  # fmt: skip
KINDS = {"topic": CLASSIFICATION}
IDS = np.array([[4, 9, 11, 7, 5, 3], [4, 21, 8, 5, 0, 0], [4, 17, 17, 6, 2, 5]])
LABELS = np.array([2, 0, 1])


@pytest.fixture
def model() -> MultiTaskModel:
    paddle.seed(3)
    built = MultiTaskModel(build_encoder("ernie", SHAPE), [HeadSpec("topic", ROW, 3, ("a", "b", "c"))])
    for parameter in built.parameters():
        parameter.set_value(parameter + 0.3 * paddle.randn(parameter.shape))
    built.eval()
    return built


def batch(*rows: int, length: int = 6) -> Batch:
    ids = IDS[list(rows), :length]
    return Batch("topic", tuple(map(str, rows)), ids, np.zeros_like(ids), (ids > 0).astype(int), labels=LABELS[[*rows]])


def loss(model: MultiTaskModel, row: int) -> float:
    """The cross-entropy of one row, in NumPy."""
    with paddle.no_grad():
        logits = model(batch(row), SignalRequest(logits=True)).logits.numpy()[0].astype(np.float64)
    return float(np.log(np.exp(logits).sum()) - logits[LABELS[row]])


def readers(layer: nn.Layer) -> dict[str, Tensor]:
    """Of each kind of part the weights that read its output, part after part."""
    return {"neurons": layer.linear2.weight, "heads": layer.self_attn.out_proj.weight}


@pytest.mark.parametrize("part, count", [("neurons", 6), ("heads", 4)])
def test_a_parts_importance_is_what_a_row_loses_as_it_fades(model: MultiTaskModel, part: str, count: int) -> None:
    found = getattr(importance_of(model, [batch(0)], KINDS), part)
    step = 0.02
    for layer, importance in zip(model.encoder.encoder.layers, found):
        weight = readers(layer)[part]
        own, size = weight.numpy(), weight.shape[0] // count
        assert importance.shape == (count,)
        for number in range(count):
            losses = []
            for factor in (1 + step, 1 - step):
                changed = own.copy()
                changed[number * size : (number + 1) * size] *= factor
                weight.set_value(changed)
                losses.append(loss(model, 0))
            weight.set_value(own)
            assert importance[number] == pytest.approx(abs(losses[0] - losses[1]) / (2 * step), rel=0.03, abs=1e-4)
    assert all(importance.max() > 0.01 for importance in found)


@pytest.mark.parametrize("part, count", [("neurons", 6), ("heads", 4)])
def test_of_one_row_it_is_the_sum_of_weights_times_their_gradients(
    model: MultiTaskModel, part: str, count: int
) -> None:
    found = getattr(importance_of(model, [batch(1)], KINDS), part)
    logits = model(batch(1), SignalRequest(logits=True)).logits
    paddle.nn.functional.cross_entropy(logits, paddle.to_tensor(LABELS[[1]])).backward()
    for layer, importance in zip(model.encoder.encoder.layers, found):
        weight = readers(layer)[part]
        expected = np.abs((weight.numpy() * weight.grad.numpy()).reshape(count, -1).sum(axis=1))
        np.testing.assert_allclose(importance, expected, rtol=1e-4, atol=1e-6)


def test_rows_count_alike_however_they_meet_and_padding_adds_nothing(model: MultiTaskModel) -> None:
    together = importance_of(model, [batch(0, 1, 2)], KINDS)
    apart = importance_of(model, [batch(2), batch(1, length=4), batch(0)], KINDS)
    for one, other in zip(together.heads + together.neurons, apart.heads + apart.neurons):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_the_model_is_left_as_it_was(model: MultiTaskModel) -> None:
    model.train()
    importance_of(model, [batch(0)], KINDS)
    assert model.training and all(parameter.grad is None for parameter in model.parameters())
    for layer in model.encoder.encoder.layers:
        assert not layer.linear2._forward_pre_hooks and not layer.self_attn.out_proj._forward_pre_hooks


def test_the_most_important_neurons_stay_in_their_order_by_hand(model: MultiTaskModel) -> None:
    layer = model.encoder.encoder.layers[0]
    first, bias, second = (value.numpy() for value in (layer.linear1.weight, layer.linear1.bias, layer.linear2.weight))
    before = count_parameters(model.encoder)
    keep_neurons(model.encoder, [np.array([0.1, 3.0, 0.0, 2.0, 2.0, 0.2]), np.arange(6.0)], 2)
    assert np.array_equal(layer.linear1.weight.numpy(), first[:, [1, 3]])  # 3 before 4, which is as important
    assert np.array_equal(layer.linear1.bias.numpy(), bias[[1, 3]])
    assert np.array_equal(layer.linear2.weight.numpy(), second[[1, 3]])
    assert before - count_parameters(model.encoder) == 2 * 4 * (8 + 8 + 1)


def test_neurons_that_nothing_reads_go_first_and_change_no_answer(model: MultiTaskModel) -> None:
    for layer in model.encoder.encoder.layers:
        weight = layer.linear2.weight.numpy().copy()
        weight[[0, 4]] = 0
        layer.linear2.weight.set_value(weight)
    request = SignalRequest(logits=True)
    before = model(batch(0, 1, 2), request).logits.numpy()
    importance = importance_of(model, [batch(0, 1, 2)], KINDS).neurons
    assert all(values[[0, 4]].tolist() == [0, 0] and (values[[1, 2, 3, 5]] > 0).all() for values in importance)
    keep_neurons(model.encoder, importance, 4)
    np.testing.assert_allclose(model(batch(0, 1, 2), request).logits.numpy(), before, atol=1e-5)


def test_the_most_important_heads_stay_in_their_order_by_hand(model: MultiTaskModel) -> None:
    attention = model.encoder.encoder.layers[0].self_attn
    before, whole = (
        count_parameters(model.encoder),
        {name: value.numpy() for name, value in attention.state_dict().items()},
    )
    keep_heads(model.encoder, [np.array([0.1, 2.0, 0.3, 2.0]), np.arange(4.0)], 2)
    kept = [2, 3, 6, 7]  # the numbers of the heads 1 and 3, two each
    for name in ("q_proj", "k_proj", "v_proj"):
        found = getattr(attention, name)
        assert np.array_equal(found.weight.numpy(), whole[f"{name}.weight"][:, kept])
        assert np.array_equal(found.bias.numpy(), whole[f"{name}.bias"][kept])
    assert np.array_equal(attention.out_proj.weight.numpy(), whole["out_proj.weight"][kept])
    assert np.array_equal(attention.out_proj.bias.numpy(), whole["out_proj.bias"])
    assert (attention.num_heads, attention.head_dim) == (2, 2)
    assert before - count_parameters(model.encoder) == 2 * 4 * (3 * (8 + 1) + 8)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_model_without_heads_answers_as_the_whole_one_with_them_silenced(model: MultiTaskModel, count: int) -> None:
    importance = importance_of(model, [batch(0, 1, 2)], KINDS).heads
    request = SignalRequest(logits=True, hidden=frozenset([0, 1]))
    whole = model(batch(0, 1, 2), request).logits.numpy()
    for layer, values in zip(model.encoder.encoder.layers, importance):
        silent = layer.self_attn.out_proj.weight.numpy().copy()
        for head in np.argsort(values)[: 4 - count]:
            silent[2 * head : 2 * head + 2] = 0
        layer.self_attn.out_proj.weight.set_value(silent)
    expected = model(batch(0, 1, 2), request)
    keep_heads(model.encoder, importance, count)
    found = model(batch(0, 1, 2), request)
    np.testing.assert_allclose(found.logits.numpy(), expected.logits.numpy(), atol=1e-5)
    for layer in (0, 1):
        np.testing.assert_allclose(found.hidden[layer].numpy(), expected.hidden[layer].numpy(), atol=1e-5)
    assert np.abs(found.logits.numpy() - whole).max() > 0.01  # the heads did matter
