"""Losses against arithmetic on paper, against float64 NumPy from the formulas, and by their invariances."""

from __future__ import annotations

import math
from typing import Optional

import numpy as np
import paddle
import pytest

from ernie_tiny.distill.losses import cross_entropy, relation_kl, span_cross_entropy
from ernie_tiny.errors import InputError

# (batch, length, student width, teacher width, relation heads, lengths of the inputs or None for no padding)
CASES = [
    (1, 2, 4, 4, 1, None),
    (2, 5, 12, 24, 6, None),
    (3, 7, 12, 24, 12, [7, 4, 1]),
    (2, 6, 312, 768, 24, [3, 6]),
    (4, 3, 8, 6, 2, [1, 1, 1, 1]),
]


def softmax(scores: np.ndarray) -> np.ndarray:
    exponents = np.exp(scores - scores.max())
    return exponents / exponents.sum()


def kl_by_formula(student: np.ndarray, teacher: np.ndarray, mask: np.ndarray, heads: int) -> float:
    """1 / (R len) sum_a sum_t KL(Rel_T[a, t] || Rel_S[a, t]) over real tokens, one row after the other."""
    total = 0.0
    for index in range(len(student)):
        real = mask[index].astype(bool)
        for head in range(heads):
            relations = []
            for vectors in (teacher, student):
                width = vectors.shape[-1] // heads
                part = vectors[index][real][:, head * width : (head + 1) * width].astype(np.float64)
                relations.append([softmax(row) for row in part @ part.T / math.sqrt(width)])
            total += sum(float((p * np.log(p / q)).sum()) for p, q in zip(*relations))
    return total / (heads * mask.sum())


def draw(case: tuple, scale: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    batch, length, student_width, teacher_width, heads, lengths = case
    rng = np.random.default_rng(seed)
    mask = np.ones((batch, length), np.int64)
    for row, real in enumerate(lengths or []):
        mask[row, real:] = 0
    student = scale * rng.normal(size=(batch, length, student_width)).astype(np.float32)
    return student, scale * rng.normal(size=(batch, length, teacher_width)).astype(np.float32), mask, heads


def loss_of(student: np.ndarray, teacher: np.ndarray, mask: np.ndarray, heads: int) -> float:
    return float(
        relation_kl(paddle.to_tensor(student), paddle.to_tensor(teacher), paddle.to_tensor(mask), heads)
    )


def gradient_of(
    student: np.ndarray, teacher: np.ndarray, mask: np.ndarray, heads: int, factor: Optional[float] = None
) -> np.ndarray:
    variable = paddle.to_tensor(student, stop_gradient=False)
    loss = relation_kl(variable, paddle.to_tensor(teacher), paddle.to_tensor(mask), heads)
    (loss if factor is None else factor * loss).backward()
    assert variable.grad is not None
    return variable.grad.numpy()


# ---- relations


def test_two_tokens_and_one_head_on_paper():
    # Student, width 1, divided by sqrt(1): token 1 is sqrt(ln 2), token 2 is 0.
    #   scores [[ln 2, 0], [0, 0]], relations [[2/3, 1/3], [1/2, 1/2]]
    # Teacher, width 4, divided by sqrt(4) = 2: tokens at right angles of squared length 2 ln 3 and 2 ln 7.
    #   scores [[ln 3, 0], [0, ln 7]], relations [[3/4, 1/4], [1/8, 7/8]]
    # KL of row 1: 3/4 ln(3/4 : 2/3) + 1/4 ln(1/4 : 1/3) = 0.0883372 - 0.0719205 = 0.0164167
    # KL of row 2: 1/8 ln(1/8 : 1/2) + 7/8 ln(7/8 : 1/2) = -0.1732868 + 0.4896638 = 0.3163770
    # Mean: (0.0164167 + 0.3163770) / 2 = 0.1663969
    student = np.array([[[math.sqrt(math.log(2))], [0]]], np.float32)
    teacher = np.zeros((1, 2, 4), np.float32)
    teacher[0, 0, 1], teacher[0, 1, 3] = math.sqrt(2 * math.log(3)), math.sqrt(2 * math.log(7))
    assert loss_of(student, teacher, np.ones((1, 2), np.int64), 1) == pytest.approx(0.1663969, abs=1e-6)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_relations_equal_the_formula(case, scale):
    arrays = draw(case, scale)
    assert loss_of(*arrays) == pytest.approx(kl_by_formula(*arrays), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_direction_is_teacher_to_student(case):
    student, teacher, mask, heads = draw(case)
    forward, backward = loss_of(student, teacher, mask, heads), loss_of(teacher, student, mask, heads)
    assert backward == pytest.approx(kl_by_formula(teacher, student, mask, heads), rel=1e-5, abs=1e-6)
    if case[5] != [1, 1, 1, 1]:  # a token alone relates to itself only
        assert forward > 1e-3 and abs(forward - backward) > 1e-3 * forward


@pytest.mark.parametrize("case", CASES, ids=str)
def test_relations_of_equal_inputs_do_not_differ(case):
    student, _, mask, heads = draw(case)
    assert loss_of(student, student, mask, heads) == pytest.approx(0, abs=1e-6)
    assert np.abs(gradient_of(student, student.copy(), mask, heads)).max() < 1e-6


@pytest.mark.parametrize("scale", [1.0, 30.0, 1e3])
@pytest.mark.parametrize("lengths", [None, [7, 4]])
def test_relations_of_equal_inputs_are_exactly_equal(scale, lengths):
    student, _, mask, heads = draw((2, 7, 12, 24, 6, lengths), scale)
    assert loss_of(student, student.copy(), mask, heads) == 0.0


@pytest.mark.parametrize("widths", [(10, 12), (12, 10)])
def test_heads_that_do_not_divide_a_width_are_refused(widths):
    student, teacher, mask, heads = draw((1, 2, *widths, 6, None))
    with pytest.raises(InputError, match="relation_heads = 6 does not divide the width 10"):
        loss_of(student, teacher, mask, heads)


@pytest.mark.parametrize("garbage", [0.0, 1.0, 1e4])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_more_padding_changes_nothing(case, garbage):
    student, teacher, mask, heads = draw(case)
    padding = [(0, 0), (0, 50)]
    padded = [np.pad(vectors, [*padding, (0, 0)]) for vectors in (student, teacher)]
    longer = np.pad(mask, padding)
    for seed, vectors in enumerate(padded):
        noise = garbage * np.random.default_rng(seed).normal(size=vectors.shape)
        vectors[longer == 0] = noise[longer == 0]
    assert loss_of(*padded, longer, heads) == pytest.approx(loss_of(student, teacher, mask, heads), abs=1e-6)
    before, after = gradient_of(student, teacher, mask, heads), gradient_of(*padded, longer, heads)
    np.testing.assert_allclose(after[longer == 1], before[mask == 1], atol=1e-6)
    assert np.abs(after[longer == 0]).max() < 1e-12


def test_halves_weighted_by_their_real_tokens_make_the_whole():
    student, teacher, mask, heads = draw((4, 7, 12, 24, 6, [7, 2, 5, 1]))
    halves = [slice(0, 2), slice(2, 4)]
    losses = [loss_of(student[half], teacher[half], mask[half], heads) for half in halves]
    tokens = [mask[half].sum() for half in halves]
    assert np.average(losses, weights=tokens) == pytest.approx(
        loss_of(student, teacher, mask, heads), rel=1e-5
    )


def test_a_repeated_batch_keeps_its_loss():
    student, teacher, mask, heads = draw((2, 6, 12, 24, 6, [6, 3]))
    repeated = loss_of(
        *(np.tile(array, (3, *[1] * (array.ndim - 1))) for array in (student, teacher, mask)), heads
    )
    assert repeated == pytest.approx(loss_of(student, teacher, mask, heads), rel=1e-5)


@pytest.mark.parametrize("kind", ["bool", "int32", "float32"])
def test_a_mask_may_be_of_any_kind(kind):
    student, teacher, mask, heads = draw((2, 6, 12, 24, 6, [6, 3]))
    found = relation_kl(
        *map(paddle.to_tensor, (student, teacher)), paddle.to_tensor(mask).astype(kind), heads
    )
    assert float(found) == pytest.approx(loss_of(student, teacher, mask, heads), rel=1e-6)


@pytest.mark.parametrize("lengths", [None, [7, 4]])
def test_large_inputs_stay_finite(lengths):
    arrays = draw((2, 7, 12, 24, 6, lengths), scale=1e3)
    loss, gradient = loss_of(*arrays), gradient_of(*arrays)
    assert np.isfinite(loss) and np.isfinite(gradient).all() and np.abs(gradient).max() > 0
    zeros = np.zeros_like(arrays[0])
    assert np.isfinite(loss_of(zeros, *arrays[1:])) and np.isfinite(gradient_of(zeros, *arrays[1:])).all()


@pytest.mark.parametrize("factor", [None, 2.5])
@pytest.mark.parametrize("lengths", [None, [4, 2]])
def test_the_gradient_equals_finite_differences(lengths, factor):
    student, teacher, mask, heads = draw((2, 4, 6, 12, 3, lengths))
    step, exact = 1e-5, student.astype(np.float64)
    expected = np.zeros_like(exact)
    for position in np.ndindex(*exact.shape):
        above, below = exact.copy(), exact.copy()
        above[position] += step
        below[position] -= step
        rise = kl_by_formula(above, teacher, mask, heads) - kl_by_formula(below, teacher, mask, heads)
        expected[position] = rise / (2 * step) * (factor or 1.0)
    np.testing.assert_allclose(gradient_of(student, teacher, mask, heads, factor), expected, atol=1e-6)


@pytest.mark.parametrize("lengths", [None, [4, 2]])
def test_no_gradient_flows_to_the_teacher(lengths):
    student, teacher, mask, heads = draw((2, 4, 6, 12, 3, lengths))
    source = paddle.nn.Linear(12, 12)
    shared = paddle.to_tensor(teacher, stop_gradient=False)
    variable = paddle.to_tensor(student, stop_gradient=False)
    relation_kl(variable, source(shared), paddle.to_tensor(mask), heads).backward()
    assert variable.grad is not None
    assert shared.grad is None and source.weight.grad is None


@pytest.mark.parametrize("side", [0, 1])
def test_a_rotation_inside_a_head_changes_nothing(side):
    student, teacher, mask, heads = draw((2, 6, 12, 24, 3, [6, 4]))
    plain = loss_of(student, teacher, mask, heads)
    vectors = [student, teacher]
    width = vectors[side].shape[-1] // heads
    parts = np.split(vectors[side], heads, axis=-1)
    rotations = [
        np.linalg.qr(np.random.default_rng(head).normal(size=(width, width)))[0] for head in range(heads)
    ]
    vectors[side] = np.concatenate([part @ q for part, q in zip(parts, rotations)], axis=-1).astype(
        np.float32
    )
    assert loss_of(*vectors, mask, heads) == pytest.approx(plain, rel=1e-5)
    assert loss_of(*vectors, mask, 2 * heads) != pytest.approx(
        loss_of(student, teacher, mask, 2 * heads), rel=1e-3
    )


def test_half_precision_inputs_are_compared_in_single_precision():
    student, teacher, mask, heads = draw((2, 6, 12, 24, 6, [6, 3]))
    variable = paddle.to_tensor(student).astype("float16")
    variable.stop_gradient = False
    loss = relation_kl(variable, paddle.to_tensor(teacher).astype("float16"), paddle.to_tensor(mask), heads)
    rounded = [array.astype(np.float16).astype(np.float32) for array in (student, teacher)]
    assert loss.dtype == paddle.float32
    assert float(loss) == pytest.approx(kl_by_formula(*rounded, mask, heads), rel=1e-5)
    loss.backward()
    assert variable.grad.dtype == paddle.float16 and np.isfinite(variable.grad.numpy()).all()


# ---- cross-entropies


def test_cross_entropy_on_paper():
    # softmax(0, ln 3) = (1/4, 3/4), softmax(ln 2, 0) = (2/3, 1/3): -(ln 3/4 + ln 1/3) / 2 = ln(4) / 2
    logits = paddle.to_tensor([[0.0, math.log(3)], [math.log(2), 0.0]])
    assert float(cross_entropy(logits, paddle.to_tensor([1, 1]))) == pytest.approx(math.log(4) / 2, abs=1e-6)


def nll(logits: np.ndarray, labels: np.ndarray) -> float:
    return float(
        np.mean([-np.log(softmax(row.astype(np.float64))[label]) for row, label in zip(logits, labels)])
    )


@pytest.mark.parametrize(("examples", "classes"), [(1, 2), (7, 15), (3, 500)])
def test_cross_entropy_equals_the_formula(examples, classes):
    rng = np.random.default_rng(classes)
    logits = 3 * rng.normal(size=(examples, classes)).astype(np.float32)
    labels = rng.integers(0, classes, examples)
    found = float(cross_entropy(paddle.to_tensor(logits), paddle.to_tensor(labels)))
    assert found == pytest.approx(nll(logits, labels), rel=1e-5)


def test_a_masked_class_takes_no_part():
    logits = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    labels = paddle.to_tensor([0, 2, 1, 2])
    masked = logits.copy()
    masked[:, 3:] = -1e4
    variable = paddle.to_tensor(masked, stop_gradient=False)
    loss = cross_entropy(variable, labels)
    assert float(loss) == pytest.approx(
        float(cross_entropy(paddle.to_tensor(logits[:, :3]), labels)), abs=1e-6
    )
    loss.backward()
    assert np.abs(variable.grad.numpy()[:, 3:]).max() < 1e-12


def test_cross_entropy_is_a_mean_over_examples():
    logits = paddle.to_tensor(np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32))
    labels = paddle.to_tensor([0, 3, 2])
    alone = [float(cross_entropy(logits[i : i + 1], labels[i : i + 1])) for i in range(3)]
    assert float(cross_entropy(logits, labels)) == pytest.approx(np.mean(alone), rel=1e-6)
    assert float(cross_entropy(1e4 * logits, labels)) < 1e5


def test_span_cross_entropy_on_paper():
    # Start: softmax(ln 2, 0) = (2/3, 1/3), answer 0; end: softmax(0, ln 7) = (1/8, 7/8), answer 1.
    logits = paddle.to_tensor([[[math.log(2), 0.0], [0.0, math.log(7)]]])
    expected = -(math.log(2 / 3) + math.log(7 / 8)) / 2
    assert float(span_cross_entropy(logits, paddle.to_tensor([[0, 1]]))) == pytest.approx(expected, abs=1e-6)


def test_span_cross_entropy_equals_the_formula_without_padding():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(3, 2, 9)).astype(np.float32)
    labels = np.array([[1, 4], [0, 0], [3, 3]])
    expected = np.mean([nll(logits[:, side], labels[:, side]) for side in (0, 1)])
    assert float(span_cross_entropy(*map(paddle.to_tensor, (logits, labels)))) == pytest.approx(
        expected, rel=1e-5
    )
    padded = np.pad(logits, [(0, 0), (0, 0), (0, 50)], constant_values=-1e4)
    assert float(span_cross_entropy(*map(paddle.to_tensor, (padded, labels)))) == pytest.approx(
        expected, rel=1e-5
    )
