"""Layers as a CPU trains them: Paddle's outputs, gradients, names and hooks, and Paddle's own layers elsewhere."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle import nn

from ernie_tiny.models.cpu_layers import add_bias, dropout, use_cpu_layers

ROWS, LENGTH, WIDTH = 3, 7, 24
REAL = [[1] * 7, [1] * 5 + [0] * 2, [1] * 3 + [0] * 4]


def encoder(normalize_before: bool = False) -> nn.Layer:
    """Two layers without dropout, with weights that all matter."""
    paddle.seed(3)
    layer = nn.TransformerEncoderLayer(WIDTH, 2, 40, 0.0, "gelu", normalize_before=normalize_before)
    network = nn.TransformerEncoder(layer, 2)
    for weight in network.parameters():
        weight.set_value(weight + 0.3 * paddle.randn(weight.shape))
    return network


def trained(network: nn.Layer, *arguments: paddle.Tensor) -> list[np.ndarray]:
    """Output, and gradients of the first input and the weights."""
    arguments[0].stop_gradient = False
    arguments[0].clear_gradient()
    output = network(*arguments)
    paddle.seed(7)
    (output * paddle.randn(output.shape)).sum().backward()
    return [output.numpy(), arguments[0].grad.numpy(), *(weight.grad.numpy() for weight in network.parameters())]


def compare(network: nn.Layer, *arguments: paddle.Tensor, tolerance: float = 1e-5) -> None:
    """Asserts that all of `trained` stays when the layers are replaced."""
    expected = trained(network, *arguments)
    network.clear_gradients()
    use_cpu_layers(network)
    for own, other in zip(trained(network, *arguments), expected):
        np.testing.assert_allclose(own, other, rtol=tolerance, atol=tolerance * max(1, np.abs(other).max()))


@pytest.mark.parametrize("normalize_before", [False, True])
@pytest.mark.parametrize("mask", ["of keys", "of pairs", "none"])
def test_an_encoder_gives_paddles_output_and_gradients(normalize_before, mask):
    keys = (paddle.to_tensor(REAL, "float32").unsqueeze([1, 2]) - 1) * 1e4
    pairs = keys + (paddle.tril(paddle.ones([LENGTH, LENGTH])) - 1) * 1e4
    arguments = {"of keys": [keys], "of pairs": [pairs], "none": []}[mask]
    compare(encoder(normalize_before), paddle.randn([ROWS, LENGTH, WIDTH]), *arguments)


@pytest.mark.parametrize("epsilon", [1e-12, 1e-5, 1e-3])
@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_a_norm_has_its_epsilon_and_stands_large_means(epsilon, offset):
    norm = nn.LayerNorm(WIDTH, epsilon=epsilon)
    norm.weight.set_value(paddle.randn([WIDTH]))  # both signs, which must not matter
    compare(norm, paddle.randn([5, WIDTH]) * 0.2 + offset, tolerance=1e-5 if offset == 0 else 2e-3)


def test_a_norm_of_equal_values_has_a_finite_gradient():
    norm = nn.LayerNorm(WIDTH, epsilon=1e-5)
    use_cpu_layers(norm)
    assert all(np.isfinite(found).all() for found in trained(norm, paddle.full([2, WIDTH], 3.0)))


@pytest.mark.parametrize("shape", [(WIDTH,), (5, WIDTH), (2, 3, 4, WIDTH)])
def test_a_linear_layer_takes_inputs_of_any_rank(shape):
    linear = nn.Linear(WIDTH, 9)
    compare(linear, paddle.randn(shape))


@pytest.mark.parametrize("layer", [nn.Linear(WIDTH, 9), nn.LayerNorm(WIDTH)], ids=["linear", "norm"])
@pytest.mark.parametrize("frozen", ["weight", "bias", "input"])
def test_what_is_frozen_gets_no_gradient_and_the_rest_does(layer, frozen):
    use_cpu_layers(layer)
    tensors = {"weight": layer.weight, "bias": layer.bias, "input": paddle.randn([5, WIDTH])}
    for name, tensor in tensors.items():
        tensor.stop_gradient = name == frozen
        tensor.clear_gradient()
    layer(tensors["input"]).square().sum().backward()
    for name, tensor in tensors.items():
        assert (tensor.grad is None or not tensor.grad.abs().sum().item()) == (name == frozen), name


def test_a_bias_gets_the_sum_of_all_rows():
    values, bias = paddle.randn([2, 3, 5]), paddle.zeros([5])
    values.stop_gradient = bias.stop_gradient = False
    (add_bias(values, bias) * paddle.arange(30, dtype="float32").reshape([2, 3, 5])).sum().backward()
    np.testing.assert_allclose(bias.grad.numpy(), np.arange(30.0).reshape(6, 5).sum(0))
    np.testing.assert_array_equal(values.grad.numpy(), np.arange(30.0).reshape(2, 3, 5))


def test_names_weights_and_hooks_stay():
    network = encoder()
    before, seen = {name: value.numpy() for name, value in network.state_dict().items()}, []
    network.layers[1].self_attn.q_proj.register_forward_post_hook(lambda *_: seen.append("queries"))
    use_cpu_layers(network)
    network(paddle.randn([ROWS, LENGTH, WIDTH]))
    assert seen == ["queries"]
    assert [*network.state_dict()] == [*before]
    assert all(np.array_equal(value.numpy(), before[name]) for name, value in network.state_dict().items())


def test_other_precisions_and_static_graphs_are_paddles_own(tmp_path):
    linear = nn.Linear(4, 2)
    linear.to(dtype="float64")
    compare(linear, paddle.randn([3, 4], "float64"), tolerance=1e-12)
    network = encoder()
    expected = network(paddle.ones([1, LENGTH, WIDTH])).numpy()
    use_cpu_layers(network)
    signature = [paddle.static.InputSpec([None, None, WIDTH], "float32", "source")]
    paddle.jit.save(paddle.jit.to_static(network, input_spec=signature, full_graph=True), str(tmp_path / "network"))
    loaded = paddle.jit.load(str(tmp_path / "network"))
    np.testing.assert_allclose(loaded(paddle.ones([1, LENGTH, WIDTH])).numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.25])
def test_dropout_zeroes_a_part_and_raises_the_rest_so_that_the_mean_stays(probability):
    paddle.seed(1)
    values = dropout(paddle.ones([400, 501]), probability).numpy()
    kept = values[values != 0]
    deviation = (probability * (1 - probability) / values.size) ** 0.5
    assert abs((values == 0).mean() - probability) < 5 * deviation
    np.testing.assert_allclose(kept, 1 / (1 - probability), rtol=1e-4)
    assert abs(values.mean() - 1) < 5 * deviation / (1 - probability)
    by_column = (values == 0).mean(axis=0).std() / (probability * (1 - probability) / 400) ** 0.5
    assert abs(by_column - 1) < 5 / (2 * 501) ** 0.5  # no stripes


def test_dropouts_gradient_passes_where_the_value_passed():
    paddle.seed(1)
    values = paddle.full([3, 7], 2.0)
    values.stop_gradient = False
    dropped = dropout(values, 0.5)
    (dropped * paddle.arange(21, dtype="float32").reshape([3, 7])).sum().backward()
    np.testing.assert_allclose(values.grad.numpy(), dropped.numpy() / 2 * np.arange(21).reshape(3, 7), rtol=1e-6)


def test_paddles_seed_gives_the_same_zeros_again_and_each_call_others():
    values = paddle.ones([64, 64])
    paddle.seed(5)
    first, second = dropout(values, 0.3).numpy(), dropout(values, 0.3).numpy()
    assert (first != second).any()
    paddle.seed(5)
    np.testing.assert_array_equal(dropout(values, 0.3).numpy(), first)
    np.testing.assert_array_equal(dropout(values, 0.3).numpy(), second)


@pytest.mark.parametrize("place", ["dropout", "dropout1", "dropout2", "self_attn"])
def test_each_dropout_of_a_layer_acts_while_training_and_not_otherwise(place):
    network, source = encoder(), paddle.randn([ROWS, LENGTH, WIDTH])
    expected = network(source).numpy()
    use_cpu_layers(network)
    for layer in network.layers:
        setattr(getattr(layer, place), "dropout" if place == "self_attn" else "p", 0.5)
    assert not np.allclose(network(source).numpy(), expected, rtol=1e-2)
    network.eval()
    np.testing.assert_allclose(network(source).numpy(), expected, rtol=1e-5, atol=1e-5)


def test_dropout_of_everything_or_nothing_is_paddles():
    layer = nn.Dropout(1.0)
    use_cpu_layers(layer)
    assert not layer(paddle.ones([3])).numpy().any()
    layer.p = 0.0
    assert layer(paddle.ones([3])).numpy().all()
