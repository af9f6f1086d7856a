"""The losses against arithmetic on paper, the cross-entropies against their formula, and inputs that are refused."""

from __future__ import annotations

import math

import numpy as np
import paddle
import pytest

from ernie_tiny.batch import Batch
from ernie_tiny.distill.losses import (
    attention_kl,
    attention_mse,
    cross_entropy,
    hidden_mse,
    logit_mse,
    relation_kl,
    sample_relation_kl,
    soft_label_kl,
)
from ernie_tiny.errors import InputError
from ernie_tiny.kinds.reading import READING

GARBAGE = 7.0
# KL(teacher || student) of two rows:
#   3/4 ln(3/4 : 2/3) + 1/4 ln(1/4 : 1/3) = 0.0883372 - 0.0719205 = 0.0164167
#   1/8 ln(1/8 : 1/2) + 7/8 ln(7/8 : 1/2) = -0.1732868 + 0.4896638 = 0.3163770
KL_OF_ROWS = 0.0164167, 0.3163770


def tensors(*arrays: object) -> list[paddle.Tensor]:
    return [paddle.to_tensor(np.array(array, np.float32)) for array in arrays]


def related_pair() -> tuple[np.ndarray, np.ndarray]:
    """Two vectors of the student and two of the teacher, whose relations are the rows of KL_OF_ROWS."""
    # Student, width 1, divided by sqrt(1): scores [[ln 2, 0], [0, 0]], relations [[2/3, 1/3], [1/2, 1/2]].
    # Teacher, width 4, divided by sqrt(4): two vectors at right angles of squared length 2 ln 3 and 2 ln 7:
    #   scores [[ln 3, 0], [0, ln 7]], relations [[3/4, 1/4], [1/8, 7/8]].
    student, teacher = np.array([[math.sqrt(math.log(2))], [0.0]]), np.zeros((2, 4))
    teacher[0, 1], teacher[1, 3] = math.sqrt(2 * math.log(3)), math.sqrt(2 * math.log(7))
    return student, teacher


# ---- relations


def test_relation_kl_of_two_tokens_and_padding():
    student, teacher = (np.pad(vectors, [(0, 1), (0, 0)], constant_values=GARBAGE)[None] for vectors in related_pair())
    found = relation_kl(*tensors(student, teacher, [[1, 1, 0]]), 1)
    assert float(found) == pytest.approx(sum(KL_OF_ROWS) / 2, abs=1e-6)


def test_sample_relation_kl_of_two_rows():
    # The two vectors stand at position 0 of two rows. Position 1 is real in the first row alone: it relates to
    # itself with probability 1 in both models, so it adds nothing, and counts as the third token.
    student, teacher = (np.stack([vectors, np.full_like(vectors, GARBAGE)], axis=1) for vectors in related_pair())
    found = sample_relation_kl(*tensors(student, teacher, [[1, 1], [1, 0]]), 1)
    assert float(found) == pytest.approx(sum(KL_OF_ROWS) / 3, abs=1e-6)


# ---- attention


def test_attention_mse_of_two_heads_and_padding():
    # Head 1. Student, q = (1, 2) and k = (3, 1) of width 1: scores [[3, 1], [6, 2]].
    #   Teacher, width 4, divided by 2: [[2, 6], [8, 4]] / 2 = [[1, 3], [4, 2]]. Squares 4, 4, 4, 0: mean 3.
    # Head 2. Student 0. Teacher [[2, 0], [0, 0]] / 2: squares 1, 0, 0, 0: mean 1/4.
    # Mean of the heads: 13/8. The third token is padding.
    student = [[[1, 0], [2, 0], [GARBAGE] * 2]], [[[3, 0], [1, 0], [-GARBAGE] * 2]]
    teacher = (
        [[[2, 0, 0, 0, 0, 2, 0, 0], [0, 0, 0, 4, 0, 0, 0, 0], [GARBAGE] * 8]],
        [[[1, 0, 0, 2, 0, 1, 0, 0], [3, 1, 1, 1, 0, 0, 0, 0], [GARBAGE] * 8]],
    )
    assert float(attention_mse(*tensors(*student, *teacher, [[1, 1, 0]]), 2, 2)) == pytest.approx(13 / 8)


def test_attention_kl_of_two_tokens_and_padding():
    # Student, width 1: scores [[ln 2, 0], [0, 0]]. Teacher, width 4, divided by 2: [[ln 3, 0], [0, ln 7]].
    student = [[[math.log(2)], [0], [GARBAGE]]], [[[1], [0], [GARBAGE]]]
    teacher = (
        [[[2 * math.log(3), 0, 0, 0], [0, 0, 0, 2 * math.log(7)], [GARBAGE] * 4]],
        [[[1, 0, 0, 0], [0, 0, 0, 1], [GARBAGE] * 4]],
    )
    found = attention_kl(*tensors(*student, *teacher, [[1, 1, 0]]), 1, 1)
    assert float(found) == pytest.approx(sum(KL_OF_ROWS) / 2, abs=1e-6)


# ---- hidden states and logits


def test_hidden_mse_of_three_tokens():
    # Means over the width: (1 + 9) / 2 = 5, padding, (4 + 0) / 2 = 2 and 0; over the tokens (5 + 2 + 0) / 3.
    student, teacher = [[[1, 3], [9, 9]], [[2, 1], [4, 4]]], [[[0, 0], [0, 0]], [[0, 1], [4, 4]]]
    assert float(hidden_mse(*tensors(student, teacher, [[1, 0], [1, 1]]))) == pytest.approx(7 / 3)


def test_logit_mse_of_two_and_three_classes():
    # (4 + 0) / 2 = 2 and (1 + 16 + 4) / 3 = 7; mean 4.5.
    student, teacher = [[1, 2, 9], [0, 4, 0]], [[3, 2, -7], [1, 0, 2]]
    assert float(logit_mse(*tensors(student, teacher, [[1, 1, 0], [1, 1, 1]]))) == pytest.approx(4.5)


def test_soft_label_kl_at_temperature_2():
    # Teacher softmax(ln 3, 0) = (3/4, 1/4), student (1/2, 1/2), each after a division by 2:
    #   4 (3/4 ln(3/4 : 1/2) + 1/4 ln(1/4 : 1/2)) = 4 (0.3040988 - 0.1732868) = 0.5232481
    student, teacher = [[1, 1, -1e4]], [[2 * math.log(3), 0, -1e4]]
    assert float(soft_label_kl(*tensors(student, teacher), 2.0)) == pytest.approx(0.5232481, abs=1e-6)


# ---- cross-entropies


def test_cross_entropy_of_two_examples():
    # softmax(0, ln 3) = (1/4, 3/4), softmax(ln 2, 0) = (2/3, 1/3): -(ln 3/4 + ln 1/3) / 2 = ln(4) / 2
    logits = paddle.to_tensor([[0.0, math.log(3)], [math.log(2), 0.0]])
    assert float(cross_entropy(logits, paddle.to_tensor([1, 1]))) == pytest.approx(math.log(4) / 2, abs=1e-6)


def negative_log_likelihood(logits: np.ndarray, labels: np.ndarray) -> float:
    exponents = np.exp(logits.astype(np.float64))
    return float(np.mean([-np.log(row[label] / row.sum()) for row, label in zip(exponents, labels)]))


@pytest.mark.parametrize(("examples", "classes"), [(1, 2), (7, 15), (3, 500)])
def test_cross_entropy_equals_the_formula(examples, classes):
    rng = np.random.default_rng(classes)
    logits = 3 * rng.normal(size=(examples, classes)).astype(np.float32)
    labels = rng.integers(0, classes, examples)
    found = float(cross_entropy(paddle.to_tensor(logits), paddle.to_tensor(labels)))
    assert found == pytest.approx(negative_log_likelihood(logits, labels), rel=1e-5)


def test_a_masked_class_takes_no_part():
    logits = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    labels = paddle.to_tensor([0, 2, 1, 2])
    masked = logits.copy()
    masked[:, 3:] = -1e4
    variable = paddle.to_tensor(masked, stop_gradient=False)
    loss = cross_entropy(variable, labels)
    assert float(loss) == pytest.approx(float(cross_entropy(paddle.to_tensor(logits[:, :3]), labels)), abs=1e-6)
    loss.backward()
    assert np.abs(variable.grad.numpy()[:, 3:]).max() < 1e-12


def test_cross_entropy_is_a_mean_over_examples():
    logits = paddle.to_tensor(np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32))
    labels = paddle.to_tensor([0, 3, 2])
    alone = [float(cross_entropy(logits[i : i + 1], labels[i : i + 1])) for i in range(3)]
    assert float(cross_entropy(logits, labels)) == pytest.approx(np.mean(alone), rel=1e-6)
    assert float(cross_entropy(1e4 * logits, labels)) < 1e5


def span_cross_entropy(logits, labels):
    """Cross-entropy of the decisions that reading makes of logits [windows, 2, length]."""
    mask = np.ones((logits.shape[0], logits.shape[2]), np.int64)
    table = READING.decisions(logits, Batch("toy", tuple("abc")[: len(mask)], mask, mask, mask, np.array(labels)))
    assert 2 * READING.count(Batch("toy", tuple("abc")[: len(mask)], mask, mask, mask)) == len(table.labels)
    return cross_entropy(table.logits, paddle.to_tensor(table.labels))


def test_span_cross_entropy_of_one_window():
    # Start: softmax(ln 2, 0) = (2/3, 1/3), answer 0; end: softmax(0, ln 7) = (1/8, 7/8), answer 1.
    logits = paddle.to_tensor([[[math.log(2), 0.0], [0.0, math.log(7)]]])
    expected = -(math.log(2 / 3) + math.log(7 / 8)) / 2
    assert float(span_cross_entropy(logits, [[0, 1]])) == pytest.approx(expected, abs=1e-6)


def test_span_cross_entropy_equals_the_formula_without_padding():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(3, 2, 9)).astype(np.float32)
    labels = np.array([[1, 4], [0, 0], [3, 3]])
    expected = np.mean([negative_log_likelihood(logits[:, side], labels[:, side]) for side in (0, 1)])
    for padding in (0, 50):
        padded = np.pad(logits, [(0, 0), (0, 0), (0, padding)], constant_values=-1e4)
        found = span_cross_entropy(paddle.to_tensor(padded), labels)
        assert float(found) == pytest.approx(expected, rel=1e-5)


# ---- what cannot be compared


@pytest.mark.parametrize("widths", [(10, 12), (12, 10)])
def test_heads_that_do_not_divide_a_width_are_refused(widths):
    own, other = (paddle.ones([2, 2, width]) for width in widths)
    mask = paddle.ones([2, 2])
    for compare in (
        lambda: relation_kl(own, other, mask, 6),
        lambda: sample_relation_kl(own, other, mask, 6),
        lambda: attention_mse(own, own, other, other, mask, 6, 6),
        lambda: attention_kl(own, own, other, other, mask, 6, 6),
    ):
        with pytest.raises(InputError, match="6 heads do not divide the width 10"):
            compare()


@pytest.mark.parametrize("loss", [attention_mse, attention_kl])
def test_models_of_different_heads_are_refused_with_the_ways_out(loss):
    own, other, mask = paddle.ones([1, 2, 12]), paddle.ones([1, 2, 16]), paddle.ones([1, 2])
    with pytest.raises(InputError, match="student has 12 attention heads and the teacher 16.*`heads`.*relation"):
        loss(own, own, other, other, mask, 12, 16)


def test_an_input_alone_in_a_batch_relates_to_itself_only():
    vectors = paddle.to_tensor(np.random.default_rng(0).normal(size=(2, 1, 3, 4)).astype(np.float32))
    assert float(sample_relation_kl(vectors[0], vectors[1], paddle.ones([1, 3]), 2)) == 0.0
