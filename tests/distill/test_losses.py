"""The distillation losses against float64 NumPy from the formulas, and by what must not change them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Callable, Optional

import numpy as np
import paddle
import pytest

from ernie_tiny.distill.losses import (
    attention_kl,
    attention_mse,
    hidden_mse,
    logit_mse,
    relation_kl,
    sample_relation_kl,
    soft_label_kl,
)

Arrays = Sequence[np.ndarray]


def softmax(scores: np.ndarray) -> np.ndarray:
    exponents = np.exp(scores - scores.max())
    return exponents / exponents.sum()


def divergence(teacher_scores: np.ndarray, student_scores: np.ndarray) -> float:
    p, q = softmax(teacher_scores), softmax(student_scores)
    return float((p * np.log(p / q)).sum())


def part(vectors: np.ndarray, head: int, heads: int) -> np.ndarray:
    width = vectors.shape[-1] // heads
    return vectors[:, head * width : (head + 1) * width].astype(np.float64)


def scores(queries: np.ndarray, keys: np.ndarray, heads: int) -> Iterator[np.ndarray]:
    for head in range(heads):
        q, k = part(queries, head, heads), part(keys, head, heads)
        yield q @ k.T / math.sqrt(q.shape[-1])


def token_scores(
    student: Arrays, teacher: Arrays, mask: np.ndarray, heads: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Scores of the real tokens of student and teacher, one row and one head after the other."""
    for row, real in enumerate(mask.astype(bool)):
        sides = ([vectors[row][real] for vectors in side] for side in (student, teacher))
        yield from zip(*(scores(side[0], side[-1], heads) for side in sides))


def scores_kl(student: Arrays, teacher: Arrays, mask: np.ndarray, heads: int) -> float:
    """1 / (heads x tokens) sum KL(softmax(teacher's row) || softmax(student's row))."""
    pairs = token_scores(student, teacher, mask, heads)
    return sum(divergence(q, p) for s, t in pairs for p, q in zip(s, t)) / (heads * mask.sum())


def scores_mse(student: Arrays, teacher: Arrays, mask: np.ndarray, heads: int) -> float:
    squares = [(s - t) ** 2 for s, t in token_scores(student, teacher, mask, heads)]
    return float(np.mean(np.concatenate([square.ravel() for square in squares])))


def sample_kl(student: Arrays, teacher: Arrays, mask: np.ndarray, heads: int) -> float:
    total = 0.0
    for position, real in enumerate(mask.T.astype(bool)):
        at_position = [side[0][real, position] for side in (student, teacher)]
        for own, other in zip(*(scores(vectors, vectors, heads) for vectors in at_position)):
            total += sum(divergence(q, p) for p, q in zip(own, other))
    return total / (heads * mask.sum())


def token_mse(student: Arrays, teacher: Arrays, mask: np.ndarray) -> float:
    pairs = zip(student[0][mask == 1].astype(np.float64), teacher[0][mask == 1])
    return float(np.mean([np.mean((own - other) ** 2) for own, other in pairs]))


def example_mse(student: Arrays, teacher: Arrays, mask: np.ndarray) -> float:
    rows = zip(student[0].astype(np.float64), teacher[0], mask == 1)
    return float(np.mean([np.mean((own[real] - other[real]) ** 2) for own, other, real in rows]))


def soft_kl(student: Arrays, teacher: Arrays, mask: np.ndarray, temperature: float) -> float:
    rows = zip(student[0].astype(np.float64), teacher[0].astype(np.float64), mask == 1)
    kls = [divergence(other[real] / temperature, own[real] / temperature) for own, other, real in rows]
    return temperature**2 * float(np.mean(kls))


def count_tokens(mask: np.ndarray) -> int:
    return mask.sum()


def count_token_pairs(mask: np.ndarray) -> int:
    return (mask.sum(1) ** 2).sum()


@dataclass(frozen=True)
class Loss:
    """A loss, what it should be, and what it takes.

    Attributes:
        of: The loss of the student's tensors, the teacher's tensors and a mask.
        formula: The same in float64, of arrays.
        widths: Last axis of the student's and the teacher's arrays; None for logits, which have no third axis.
        tensors: How many each model gives: 2 for queries and keys.
        masked: What padding holds; None for anything.
        count: What the loss is a mean over; None where it depends on the batch as a whole.
        rounding: By how much float32 may be off.
    """

    of: Callable[..., paddle.Tensor]
    formula: Callable[[Arrays, Arrays, np.ndarray], float]
    widths: Optional[tuple[int, int]]
    tensors: int = 1
    masked: Optional[float] = None
    count: Optional[Callable[[np.ndarray], int]] = count_tokens
    rounding: float = 1e-6

    def draw(self, rows: int, length: int, lengths: Optional[list[int]], scale: float = 1.0) -> Drawn:
        rng = np.random.default_rng(rows + length)
        mask = np.ones((rows, length), np.int64)
        for row, real in enumerate(lengths or []):
            mask[row, real:] = 0
        student_width, teacher_width = ((width,) for width in self.widths) if self.widths else ((), ())
        student, teacher = (
            [scale * rng.normal(size=(rows, length, *width)).astype(np.float32) for _ in range(self.tensors)]
            for width in (student_width, teacher_width)
        )
        if self.masked is not None:
            for array in (*student, *teacher):
                array[mask == 0] = self.masked
        return student, teacher, mask

    def value(self, student: Arrays, teacher: Arrays, mask: np.ndarray) -> float:
        own, other = ([paddle.to_tensor(array) for array in side] for side in (student, teacher))
        return float(self.of(own, other, paddle.to_tensor(mask)))

    def gradients(
        self, student: Arrays, teacher: Arrays, mask: np.ndarray, factor: Optional[float] = None
    ) -> list[np.ndarray]:
        own = [paddle.to_tensor(array, stop_gradient=False) for array in student]
        loss = self.of(own, [paddle.to_tensor(array) for array in teacher], paddle.to_tensor(mask))
        (loss if factor is None else factor * loss).backward()
        return [variable.grad.numpy() for variable in own]


Drawn = tuple[list[np.ndarray], list[np.ndarray], np.ndarray]


def relation(heads: int, widths: tuple[int, int]) -> Loss:
    return Loss(lambda s, t, mask: relation_kl(*s, *t, mask, heads), lambda *args: scores_kl(*args, heads), widths)


def soft(temperature: float) -> Loss:
    return Loss(
        lambda s, t, mask: soft_label_kl(*s, *t, temperature),
        lambda *args: soft_kl(*args, temperature),
        None,
        masked=-1e4,
        count=len,
        rounding=1e-6 * temperature,
    )


LOSSES = {
    "relation_kl": relation(6, (12, 24)),
    "relation_kl-wide": relation(24, (312, 768)),
    "sample_relation_kl": Loss(
        lambda s, t, mask: sample_relation_kl(*s, *t, mask, 3), lambda *args: sample_kl(*args, 3), (6, 12), count=None
    ),
    "attention_kl": Loss(
        lambda s, t, mask: attention_kl(*s, *t, mask, 3, 3), lambda *args: scores_kl(*args, 3), (6, 12), tensors=2
    ),
    "attention_mse": Loss(
        lambda s, t, mask: attention_mse(*s, *t, mask, 3, 3),
        lambda *args: scores_mse(*args, 3),
        (6, 12),
        tensors=2,
        count=count_token_pairs,
    ),
    "hidden_mse": Loss(lambda s, t, mask: hidden_mse(*s, *t, mask), token_mse, (8, 8)),
    "logit_mse": Loss(lambda s, t, mask: logit_mse(*s, *t, mask), example_mse, None, count=len),
    "soft_label_kl-1": soft(1.0),
    "soft_label_kl-8": soft(8.0),
}
SHAPES = [(3, 7, None), (3, 7, [7, 4, 1]), (4, 1, None), (2, 6, [3, 6])]

every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


@every_loss
@every_shape
@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_a_loss_equals_its_formula(loss, shape, scale):
    drawn = loss.draw(*shape, scale)
    assert loss.value(*drawn) == pytest.approx(loss.formula(*drawn), rel=1e-5, abs=loss.rounding)


@every_loss
@pytest.mark.parametrize("scale", [1.0, 30.0, 1e3])
@pytest.mark.parametrize("lengths", [None, [7, 4]])
def test_equal_models_have_no_loss_and_no_gradient(loss, scale, lengths):
    student, _, mask = loss.draw(2, 7, lengths, scale)
    teacher = [array.copy() for array in student]
    assert loss.value(student, teacher, mask) == 0.0
    assert all((gradient == 0).all() for gradient in loss.gradients(student, teacher, mask))


@every_loss
@every_shape
@pytest.mark.parametrize("garbage", [0.0, 1e4])
def test_more_padding_changes_nothing(loss, shape, garbage):
    student, teacher, mask = loss.draw(*shape)
    rng = np.random.default_rng(0)

    def pad(array: np.ndarray) -> np.ndarray:
        longer = np.pad(array, [(0, 0), (0, 50), (0, 0)][: array.ndim])
        noise = garbage * rng.normal(size=longer.shape) if loss.masked is None else np.full(longer.shape, loss.masked)
        longer[padded_mask == 0] = noise[padded_mask == 0]
        return longer

    padded_mask = np.pad(mask, [(0, 0), (0, 50)])
    padded = ([pad(array) for array in student], [pad(array) for array in teacher], padded_mask)
    assert loss.value(*padded) == pytest.approx(loss.value(student, teacher, mask), rel=1e-6, abs=loss.rounding)
    for after, before in zip(loss.gradients(*padded), loss.gradients(student, teacher, mask)):
        np.testing.assert_allclose(after[padded_mask == 1], before[mask == 1], rtol=1e-5, atol=1e-6)
        assert np.abs(after[padded_mask == 0]).max() < 1e-12


@every_loss
@pytest.mark.parametrize("lengths", [None, [7, 2, 5, 1]])
def test_halves_weighted_by_what_they_count_make_the_whole(loss, lengths):
    student, teacher, mask = drawn = loss.draw(4, 7, lengths)
    halves = [
        ([array[half] for array in student], [array[half] for array in teacher], mask[half])
        for half in (slice(0, 2), slice(2, 4))
    ]
    losses = [loss.value(*half) for half in halves]
    if loss.count is None:
        assert np.average(losses, weights=[half[2].sum() for half in halves]) < 0.9 * loss.value(*drawn)
    else:
        counts = [loss.count(half[2]) for half in halves]
        assert np.average(losses, weights=counts) == pytest.approx(loss.value(*drawn), rel=1e-5, abs=loss.rounding)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "relation_kl-wide"])
@pytest.mark.parametrize("factor", [None, 2.5])
@pytest.mark.parametrize("lengths", [None, [4, 2]])
def test_the_gradient_equals_finite_differences(name, lengths, factor):
    loss, step = LOSSES[name], 1e-5
    student, teacher, mask = loss.draw(2, 4, lengths)
    exact = [array.astype(np.float64) for array in student]
    for array, gradient in zip(exact, loss.gradients(student, teacher, mask, factor)):
        expected = np.zeros_like(array)
        for position in np.ndindex(*array.shape):
            value = array[position]
            array[position] = value + step
            above = loss.formula(exact, teacher, mask)
            array[position] = value - step
            below = loss.formula(exact, teacher, mask)
            array[position] = value
            expected[position] = (above - below) / (2 * step) * (factor or 1.0)
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


@every_loss
@pytest.mark.parametrize("lengths", [None, [4, 2]])
def test_no_gradient_flows_to_the_teacher(loss, lengths):
    student, teacher, mask = loss.draw(2, 4, lengths)
    own, other = ([paddle.to_tensor(array, stop_gradient=False) for array in side] for side in (student, teacher))
    loss.of(own, [2 * tensor for tensor in other], paddle.to_tensor(mask)).backward()
    assert all(tensor.grad is not None for tensor in own)
    assert all(tensor.grad is None for tensor in other)


@every_loss
@pytest.mark.parametrize("kind", ["bool", "int32", "float32"])
def test_a_mask_may_be_of_any_kind(loss, kind):
    student, teacher, mask = loss.draw(2, 6, [6, 3])
    assert loss.value(student, teacher, mask.astype(kind)) == loss.value(student, teacher, mask)


@every_loss
@pytest.mark.parametrize("lengths", [None, [7, 4]])
def test_large_inputs_stay_finite(loss, lengths):
    student, teacher, mask = loss.draw(2, 7, lengths, scale=1e3)
    zeros = [np.zeros_like(array) for array in student]
    for own in (student, zeros):
        assert np.isfinite(loss.value(own, teacher, mask))
        assert all(np.isfinite(gradient).all() for gradient in loss.gradients(own, teacher, mask))


@every_loss
def test_half_precision_inputs_are_compared_in_single_precision(loss):
    student, teacher, mask = loss.draw(2, 6, [6, 3])
    own, other = ([paddle.to_tensor(array).astype("float16") for array in side] for side in (student, teacher))
    for tensor in own:
        tensor.stop_gradient = False
    found = loss.of(own, other, paddle.to_tensor(mask))
    student, teacher = ([tensor.numpy().astype(np.float32) for tensor in side] for side in (own, other))
    assert found.dtype == paddle.float32
    assert float(found) == pytest.approx(loss.formula(student, teacher, mask), rel=1e-5, abs=loss.rounding)
    found.backward()
    assert all(tensor.grad.dtype == paddle.float16 and np.isfinite(tensor.grad.numpy()).all() for tensor in own)


def test_a_masked_class_gains_nothing_from_a_high_temperature():
    loss = soft(1000.0)
    student, teacher, mask = loss.draw(3, 4, None, scale=3.0)
    padded = [np.pad(side[0], [(0, 0), (0, 50)], constant_values=-1e4) for side in (student, teacher)]
    (gradient,) = loss.gradients(padded[:1], padded[1:], mask)
    np.testing.assert_allclose(gradient[:, :4], loss.gradients(student, teacher, mask)[0], rtol=1e-3)
    assert np.abs(gradient[:, 4:]).max() < 1e-20  # Paddle's softmax on a CPU gives exp(-64) at least


@pytest.mark.parametrize("loss", [lambda s, t, real: soft_label_kl(s, t, 2.0), logit_mse], ids=["soft", "mse"])
def test_starts_and_ends_of_spans_count_as_examples(loss):
    student, teacher, mask = soft(2.0).draw(6, 5, [5, 5, 3, 3, 4, 4])
    flat = [paddle.to_tensor(array) for array in (*student, *teacher, mask)]
    assert float(loss(*(tensor.reshape([3, 2, 5]) for tensor in flat))) == float(loss(*flat))


def test_all_logits_are_real_without_a_mask():
    student, teacher, mask = LOSSES["logit_mse"].draw(3, 4, None)
    found = logit_mse(*map(paddle.to_tensor, (*student, *teacher)))
    assert float(found) == pytest.approx(example_mse(student, teacher, mask), rel=1e-6)


@pytest.mark.parametrize("side", [0, 1])
def test_a_rotation_inside_a_relation_head_changes_nothing(side):
    *sides, mask = relation(3, (12, 24)).draw(2, 6, [6, 4], scale=3.0)
    plain, finer = (relation(heads, (12, 24)).value(*sides, mask) for heads in (3, 6))
    parts = np.split(sides[side][0], 3, axis=-1)
    width = parts[0].shape[-1]
    rotations = [np.linalg.qr(np.random.default_rng(head).normal(size=(width, width)))[0] for head in range(3)]
    sides[side] = [np.concatenate([part @ q for part, q in zip(parts, rotations)], axis=-1).astype(np.float32)]
    assert relation(3, (12, 24)).value(*sides, mask) == pytest.approx(plain, rel=1e-5)
    assert relation(6, (12, 24)).value(*sides, mask) != pytest.approx(finer, rel=1e-3)
