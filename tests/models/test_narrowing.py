"""Students that start from a wider teacher: what each method keeps, by hand and by NumPy's own decompositions."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from ernie_tiny.errors import InputError
from ernie_tiny.models.backbone import build_encoder
from ernie_tiny.models.narrowing import evenly, narrow_layers
from tests.shapes import TINY

SHAPE = {**TINY, "num_hidden_layers": 3, "num_attention_heads": 4}
NARROW = {"num_hidden_layers": 2, "hidden_size": 6, "num_attention_heads": 2, "intermediate_size": 8}


def encoder(seed: int = 1, **changes: int) -> paddle.nn.Layer:
    paddle.seed(seed)
    built = build_encoder("ernie", {**SHAPE, **changes})
    for parameter in built.parameters():
        parameter.set_value(parameter + 0.3 * paddle.randn(parameter.shape))
    built.eval()
    return built


def output(model: paddle.nn.Layer) -> np.ndarray:
    ids = paddle.to_tensor(np.random.default_rng(1).integers(5, 40, (3, 7)))
    with paddle.no_grad():
        return model(ids)[0].numpy()


def test_places_are_even_by_hand() -> None:
    assert evenly(16, 6).tolist() == [0, 2, 5, 8, 10, 13] and evenly(4, 4).tolist() == [0, 1, 2, 3]


def test_selection_of_everything_is_a_copy() -> None:
    source, target = encoder(), encoder(2)
    narrow_layers(source, target, [0, 1, 2], "selection")
    np.testing.assert_allclose(output(source), output(target), atol=1e-5)


def test_selection_keeps_entries_as_they_are() -> None:
    source, target = encoder(), encoder(2, **NARROW)
    narrow_layers(source, target, [0, 2], "selection")
    kept = [0, 2, 5, 8, 10, 13]
    words = source.embeddings.word_embeddings.weight.numpy()
    np.testing.assert_array_equal(target.embeddings.word_embeddings.weight.numpy(), words[:, kept])
    wide, narrow = source.encoder.layers[2], target.encoder.layers[1]
    heads = [0, 1, 2, 8, 9, 10]  # of the heads 0 and 2, four wide, the places 0, 1 and 2 (4 * k // 3)
    query = wide.self_attn.q_proj.weight.numpy()
    np.testing.assert_array_equal(narrow.self_attn.q_proj.weight.numpy(), query[kept][:, heads])
    first = wide.linear1.weight.numpy()
    np.testing.assert_array_equal(narrow.linear1.weight.numpy(), first[kept][:, ::4])
    np.testing.assert_array_equal(narrow.norm2.weight.numpy(), wide.norm2.weight.numpy()[kept])


def test_word_embeddings_are_a_best_approximation() -> None:
    source, target = encoder(), encoder(2, **NARROW)
    narrow_layers(source, target, [0, 1], "svd")
    words = source.embeddings.word_embeddings.weight.numpy().astype(np.float64)
    left, values, _ = np.linalg.svd(words, full_matrices=False)
    best = left[:, :6] * values[:6]
    found = target.embeddings.word_embeddings.weight.numpy()
    np.testing.assert_allclose(found @ found.T, best @ best.T, atol=1e-3)


def test_products_of_a_head_are_kept_where_nothing_is_narrower() -> None:
    """With all directions, x'q k'y and x'v o are those of the wider layer in the rotated coordinates."""
    source, target = encoder(), encoder(2)
    narrow_layers(source, target, [0, 1, 2], "svd")
    words = source.embeddings.word_embeddings.weight.numpy()
    basis = np.linalg.lstsq(words, target.embeddings.word_embeddings.weight.numpy(), rcond=None)[0]
    np.testing.assert_allclose(basis.T @ basis, np.eye(16), atol=1e-4)

    def projected(layer: paddle.nn.Layer, name: str, inputs: np.ndarray) -> np.ndarray:
        part = getattr(layer.self_attn, name)
        return inputs @ part.weight.numpy() + part.bias.numpy()

    inputs = np.random.default_rng(3).normal(size=(5, 16))
    for wide, narrow in zip(source.encoder.layers, target.encoder.layers):
        for head in range(4):
            own = slice(4 * head, 4 * head + 4)
            for model, states in ((wide, inputs), (narrow, inputs @ basis)):
                query, key, value = (projected(model, name, states)[:, own] for name in ("q_proj", "k_proj", "v_proj"))
                mixed = value @ model.self_attn.out_proj.weight.numpy()[own]
                if model is wide:
                    expected = query @ key.T, mixed @ basis
                else:
                    np.testing.assert_allclose(query @ key.T, expected[0], atol=1e-3)
                    np.testing.assert_allclose(mixed, expected[1], atol=1e-3)


def test_logits_of_a_narrower_head_are_the_best_of_their_rank() -> None:
    source, target = encoder(), encoder(2, num_attention_heads=4, hidden_size=8, num_hidden_layers=1)
    narrow_layers(source, target, [1], "svd")
    words = source.embeddings.word_embeddings.weight.numpy()
    basis = np.linalg.lstsq(words, target.embeddings.word_embeddings.weight.numpy(), rcond=None)[0]
    wide, narrow = source.encoder.layers[1].self_attn, target.encoder.layers[0].self_attn
    rows = [
        np.concatenate([basis.T @ part.weight.numpy(), part.bias.numpy()[None]])[:, 4:8]
        for part in (wide.q_proj, wide.k_proj)
    ]
    left, values, right = np.linalg.svd(rows[0] @ rows[1].T / np.sqrt(4))
    best = (left[:, :2] * values[:2]) @ right[:2]
    found = [
        np.concatenate([part.weight.numpy(), part.bias.numpy()[None]])[:, 2:4]
        for part in (narrow.q_proj, narrow.k_proj)
    ]
    np.testing.assert_allclose(found[0] @ found[1].T / np.sqrt(2), best, atol=1e-3)


def test_neurons_that_matter_stay() -> None:
    source, target = encoder(), encoder(2, **NARROW)
    layer = source.encoder.layers[0]
    layer.linear1.weight.set_value(layer.linear1.weight * paddle.to_tensor([1.0] * 8 + [0.0] * 24))
    first = layer.linear1.bias.numpy()[:8]
    narrow_layers(source, target, [0, 1], "svd")
    np.testing.assert_array_equal(target.encoder.layers[0].linear1.bias.numpy(), first)


@pytest.mark.parametrize("method", ["svd", "selection"])
def test_fewer_rows_of_positions_are_taken_and_further_ones_stay(method: str) -> None:
    source = encoder(max_position_embeddings=10)
    target = encoder(2, **NARROW, max_position_embeddings=12)
    before = target.embeddings.position_embeddings.weight.numpy().copy()
    narrow_layers(source, target, [0, 1], method)
    after = target.embeddings.position_embeddings.weight.numpy()
    np.testing.assert_array_equal(after[10:], before[10:])
    assert (after[:10] != before[:10]).all()


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"hidden_size": 32}, "hidden_size is 16 there and 32 here; weights can be narrowed alone"),
        ({"vocab_size": 41}, "has 40 tokens there and 41 here. Give both one vocabulary"),
        ({"hidden_size": 12, "num_attention_heads": 2}, "a head is 4 wide there and 6 here"),
        ({"num_hidden_layers": 1}, "the model has room for 1"),
    ],
    ids=["wider", "other vocabulary", "wider heads", "fewer layers"],
)
def test_what_cannot_be_narrowed_is_refused(changes: dict[str, int], said: str) -> None:
    with pytest.raises(InputError, match=said):
        narrow_layers(encoder(), encoder(2, **changes), [0, 1], "svd")


def test_families_differ() -> None:
    with pytest.raises(InputError, match="is of the family ernie, and the model of bert"):
        narrow_layers(encoder(), build_encoder("bert", SHAPE), [0], "svd")
