"""Heads: shapes, masks, and the tie between masked tokens and word embeddings."""

from __future__ import annotations

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from ernie_tiny.models.forms import MASKED_LOGIT
from ernie_tiny.models.heads import CandidateHead, MaskedTokenHead, PositionHead, RowHead

HIDDEN = 8


@pytest.fixture(autouse=True)
def seed() -> None:
    paddle.seed(5)


def answers_of(head, pooled, choice_mask=None):
    """Logits of features from pooled outputs of rows."""
    return head.arrange(head(None, pooled, None), None if choice_mask is None else paddle.to_tensor(choice_mask))


def test_classes_are_a_linear_map_of_the_pooled_output():
    head = RowHead(HIDDEN, 3, dropout=0.5)
    head.eval()
    pooled = paddle.randn([4, HIDDEN])
    expected = pooled.numpy() @ head.dense.weight.numpy() + head.dense.bias.numpy()
    np.testing.assert_allclose(answers_of(head, pooled).numpy(), expected, atol=1e-6)
    head.train()
    assert not np.allclose(answers_of(head, pooled).numpy(), expected, atol=1e-6)  # dropout


def test_initial_weights_are_small_and_biases_zero():
    weights = RowHead(400, 50, dropout=0.0).dense
    assert abs(float(weights.weight.std()) - 0.02) < 1e-3
    assert not weights.bias.numpy().any()


def test_choices_of_an_example_stand_in_a_row_and_padded_ones_cannot_win():
    head = CandidateHead(HIDDEN, 1, dropout=0.0)
    pooled = paddle.randn([6, HIDDEN])
    mask = np.array([[1, 1, 1], [1, 1, 0]])
    logits = answers_of(head, pooled, mask).numpy()
    scores = (pooled.numpy() @ head.dense.weight.numpy() + head.dense.bias.numpy()).reshape(2, 3)
    np.testing.assert_allclose(logits, np.where(mask, scores, MASKED_LOGIT), atol=1e-6)
    probabilities = F.softmax(paddle.to_tensor(logits)).numpy()
    assert probabilities[1, 2] < 1e-20 and probabilities[1].sum() == pytest.approx(1)


def test_a_padded_choice_gets_no_gradient():
    head = CandidateHead(HIDDEN, 1, dropout=0.0)
    pooled = paddle.randn([4, HIDDEN])
    pooled.stop_gradient = False
    F.cross_entropy(answers_of(head, pooled, [[1, 1], [1, 0]]), paddle.to_tensor([0, 0])).backward()
    assert np.abs(pooled.grad.numpy()).sum(axis=1).astype(bool).tolist() == [True, True, False, False]


def test_spans_are_start_and_end_over_real_positions():
    head = PositionHead(HIDDEN, 2, dropout=0.0)
    sequence = paddle.randn([2, 5, HIDDEN])
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    logits = head(sequence, None, paddle.to_tensor(mask)).numpy()
    scores = sequence.numpy() @ head.dense.weight.numpy() + head.dense.bias.numpy()
    assert logits.shape == (2, 2, 5)
    np.testing.assert_allclose(logits[0], scores[0].T, atol=1e-6)
    np.testing.assert_allclose(logits[1, :, :3], scores[1, :3].T, atol=1e-6)
    assert (logits[1, :, 3:] == MASKED_LOGIT).all()


def test_masked_logits_are_in_range_of_float16():
    assert np.isfinite(np.float16(MASKED_LOGIT))


def test_masked_tokens_are_read_at_their_flat_positions():
    embedding = paddle.randn([11, HIDDEN])
    head = MaskedTokenHead(embedding)
    head.bias.set_value(paddle.arange(11, dtype="float32"))
    sequence = paddle.randn([2, 3, HIDDEN])
    logits = head(sequence, paddle.to_tensor([4, 0]), embedding).numpy()
    chosen = paddle.stack([sequence[1, 1], sequence[0, 0]])
    hidden = F.layer_norm(F.gelu(head.transform(chosen)), [HIDDEN], head.norm.weight, head.norm.bias)
    expected = hidden.numpy() @ embedding.numpy().T + np.arange(11)
    assert logits.shape == (2, 11)
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_the_tied_embedding_gets_the_gradient_of_the_output():
    embedding = paddle.create_parameter([11, HIDDEN], "float32")
    head = MaskedTokenHead(embedding)
    sequence = paddle.randn([1, 2, HIDDEN])  # not from the embedding: all gradient is the output matrix's
    F.cross_entropy(head(sequence, paddle.to_tensor([1]), embedding), paddle.to_tensor([7])).backward()
    assert np.abs(embedding.grad.numpy()).sum(axis=1).all()  # every row: each is a class
    assert "embedding" not in "".join(head.state_dict())  # kept once, in the encoder
    for parameter in head.parameters():
        assert parameter.grad is not None
