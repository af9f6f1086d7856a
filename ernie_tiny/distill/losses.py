"""Losses as pure functions of tensors and a mask. Each is a mean over what is real: tokens or examples."""

from __future__ import annotations

from typing import Any, Optional

import paddle
import paddle.nn.functional as F
from paddle import Tensor
from paddle.autograd import PyLayer

from ernie_tiny.errors import InputError
from ernie_tiny.models.forms import MASKED_LOGIT

MASKED_SCORE = -1.0e9  # losses are computed in float32, whatever the precision of the models


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy with the right options, in nats.

    Of spans it is the mean over an answer's first and last position (BERT, arXiv 1810.04805, 4.2), of masked tokens
    that over tokens.

    Args:
        logits: [decisions, options]. An option that a decision lacks stands at -10,000 and takes no part.
        labels: int64 [decisions].
    Returns:
        A scalar, the mean over decisions.
    """
    return F.cross_entropy(logits.astype("float32"), labels)


def soft_label_kl(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Mean T² KL(softmax(teacher / T) || softmax(student / T)) (Hinton et al., arXiv 1503.02531, section 2).

    The cross-entropy with the teacher's soft labels less their entropy, which has no gradient. T² keeps the size of
    the gradient when T changes.

    Args:
        student_logits, teacher_logits: [decisions, options]. An option that a decision lacks stands at -10,000 in both
            models and takes no part, whatever T. No gradient flows to the teacher.
        temperature: T, above 0.
    Returns:
        A scalar, the mean over decisions, in nats times T².
    """
    with paddle.amp.auto_cast(enable=False):
        student, teacher = (_soften(logits, temperature) for logits in (student_logits, teacher_logits))
        return _mean_kl(student, teacher.detach(), None) * temperature**2


def logit_mse(student_logits: Tensor, teacher_logits: Tensor, real: Optional[Tensor] = None) -> Tensor:
    """Mean squared difference of logits (Ba and Caruana, arXiv 1312.6184), the distance taken for MKD (1911.03588).

    Args:
        student_logits, teacher_logits: [decisions, options]. No gradient flows to the teacher.
        real: 1 for an option that a decision has, 0 for padding, of the logits' shape; None where all are real.
    Returns:
        A scalar, the mean over decisions of the mean over a decision's real options.
    """
    with paddle.amp.auto_cast(enable=False):
        squares = _squared_difference(student_logits, teacher_logits)
        if real is None:
            return squares.mean()
        weights = real.astype("float32")
        return ((squares * weights).sum(-1) / weights.sum(-1)).mean()


def hidden_mse(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Mean squared difference of hidden states or embeddings (TinyBERT, arXiv 1909.10351, eq. 8 and 9).

    Args:
        student, teacher: [rows, length, width]; a student of another width is projected to the teacher's before.
            No gradient flows to the teacher.
        mask: [rows, length], 1 for a token, 0 for padding.
    Returns:
        A scalar, the mean over real tokens and the width.
    """
    with paddle.amp.auto_cast(enable=False):
        real = mask.astype("float32")
        return (_squared_difference(student, teacher).mean(-1) * real).sum() / real.sum()


def attention_mse(
    student_queries: Tensor,
    student_keys: Tensor,
    teacher_queries: Tensor,
    teacher_keys: Tensor,
    mask: Tensor,
    student_heads: int,
    teacher_heads: int,
) -> Tensor:
    """Mean squared difference of attention scores before the softmax (TinyBERT, arXiv 1909.10351, eq. 7).

    A head's scores are Q Kᵀ / sqrt(its width). The widths of the two models may differ, their heads may not.

    Args:
        student_queries, student_keys, teacher_queries, teacher_keys: [rows, length, width], heads side by side.
            No gradient flows to the teacher.
        mask: [rows, length], 1 for a token, 0 for padding. Padding counts neither as a query nor as a key.
        student_heads, teacher_heads: Heads that the widths are split into; equal.
    Raises:
        InputError: the heads differ, or do not divide a width.
    Returns:
        A scalar, the mean over heads and pairs of a real query and a real key of one row.
    """
    _check_equal_heads(student_heads, teacher_heads)
    with paddle.amp.auto_cast(enable=False):
        student = _attention_scores(student_queries, student_keys, student_heads)
        teacher = _attention_scores(teacher_queries, teacher_keys, teacher_heads)
        real = mask.astype("float32")
        pairs = (real.unsqueeze(2) * real.unsqueeze(1)).unsqueeze(1)
        return (_squared_difference(student, teacher) * pairs).sum() / (pairs.sum() * student_heads)


def attention_kl(
    student_queries: Tensor,
    student_keys: Tensor,
    teacher_queries: Tensor,
    teacher_keys: Tensor,
    mask: Tensor,
    student_heads: int,
    teacher_heads: int,
) -> Tensor:
    """Mean KL(teacher || student) between attention probabilities (ERNIE 3.0 Titan, arXiv 2112.12731, section 5).

    A head's attention is softmax(Q Kᵀ / sqrt(its width)). The paper sums over heads and queries; here it is a mean.

    Args:
        student_queries, student_keys, teacher_queries, teacher_keys: [rows, length, width], heads side by side.
            No gradient flows to the teacher.
        mask: [rows, length], 1 for a token, 0 for padding. Padding counts neither as a query nor as a key.
        student_heads, teacher_heads: Heads that the widths are split into; equal.
    Raises:
        InputError: the heads differ, or do not divide a width.
    Returns:
        A scalar, the mean over heads and real queries, in nats.
    """
    _check_equal_heads(student_heads, teacher_heads)
    with paddle.amp.auto_cast(enable=False):
        student = _attention_scores(student_queries, student_keys, student_heads)
        teacher = _attention_scores(teacher_queries, teacher_keys, teacher_heads)
        return _kl_of_real_tokens(student, teacher, mask)


def relation_kl(student: Tensor, teacher: Tensor, mask: Tensor, relation_heads: int) -> Tensor:
    """Mean KL(teacher || student) between self-attention relations (MiniLMv2, arXiv 2012.15828).

    A relation is softmax(A Aᵀ / sqrt(width / relation_heads)) for A one of query, key, value, its width
    split into `relation_heads`. The widths of the two models may differ; their relations are length x length.
    Of the values, with the attention heads as relation heads, it is the value relation of MiniLM (arXiv 2002.10957).

    Args:
        student, teacher: [batch, length, width], one of Q, K, V of one layer; widths divisible by
            relation_heads. No gradient flows to the teacher.
        mask: [batch, length], 1 for a token, 0 for padding. Padding counts neither as a query nor as a key.
        relation_heads: Number of heads that both widths are split into.
    Raises:
        InputError: relation_heads does not divide both widths.
    Returns:
        A scalar, the mean over heads and real query positions, in nats.
    """
    with paddle.amp.auto_cast(enable=False):  # which would take matmul's inputs back to float16
        own, other = (_split_heads(vectors, relation_heads) for vectors in (student, teacher))
        return _kl_of_real_tokens(_scores(own, own), _scores(other, other), mask)


def sample_relation_kl(student: Tensor, teacher: Tensor, mask: Tensor, relation_heads: int) -> Tensor:
    """Mean KL(teacher || student) between relations of the inputs of a batch (PP-MiniLM of PaddleNLP).

    relation_kl with rows and positions exchanged: at each position, the tokens of all rows that have one there
    relate to each other. By its nature it depends on which inputs share a batch, and changes when one is split.

    Args:
        student, teacher: [rows, length, width], one of Q, K, V of one layer, widths divisible by relation_heads. No
            gradient flows to the teacher.
        mask: [rows, length], 1 for a token, 0 for padding. Padding counts neither as a query nor as a key.
        relation_heads: Number of heads that both widths are split into.
    Raises:
        InputError: relation_heads does not divide both widths.
    Returns:
        A scalar, the mean over heads and real (row, position) pairs, in nats; 0 for one row alone.
    """
    student, teacher = (vectors.transpose([1, 0, 2]) for vectors in (student, teacher))
    return relation_kl(student, teacher, mask.transpose([1, 0]), relation_heads)


def _soften(logits: Tensor, temperature: float) -> Tensor:
    """Logits / T, but what is masked stays at -10,000: divided by a large T it would gain probability."""
    logits = logits.astype("float32")
    return paddle.where(logits > MASKED_LOGIT / 2, logits / temperature, logits)


def _squared_difference(student: Tensor, teacher: Tensor) -> Tensor:
    return (student.astype("float32") - teacher.detach().astype("float32")).square()


def _check_equal_heads(student_heads: int, teacher_heads: int) -> None:
    if student_heads != teacher_heads:
        raise InputError(
            f"The student has {student_heads} attention heads and the teacher {teacher_heads}, which cannot be "
            "compared one by one. Set the attention term's `heads` to a number that splits both widths, or use the "
            "relation term, which splits both into relation_heads."
        )


def _split_heads(vectors: Tensor, heads: int) -> Tensor:
    """[rows, length, width] to float32 [rows, heads, length, width / heads]."""
    rows, length, width = vectors.shape
    if width % heads:
        raise InputError(f"{heads} heads do not divide the width {width} of a model's layers.")
    return vectors.astype("float32").reshape([rows, length, heads, width // heads]).transpose([0, 2, 1, 3])


def _attention_scores(queries: Tensor, keys: Tensor, heads: int) -> Tensor:
    """Q Kᵀ / sqrt(width of a head): [rows, length, width] twice to [rows, heads, length, length]."""
    return _scores(_split_heads(queries, heads), _split_heads(keys, heads))


def _scores(queries: Tensor, keys: Tensor) -> Tensor:
    """Q Kᵀ / sqrt(width of a head): two of [rows, heads, length, width] to [rows, heads, length, length]."""
    scores: Tensor = paddle.matmul(queries * queries.shape[-1] ** -0.5, keys, transpose_y=True)
    return scores


def _kl_of_real_tokens(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Mean KL(softmax(teacher) || softmax(student)) of scores [rows, heads, length, length], padding excluded."""
    teacher = teacher.detach()
    if bool(mask.all()):
        return _mean_kl(student, teacher, None)
    real = mask.astype("float32")
    padded_keys = (1.0 - real).unsqueeze([1, 2]) * MASKED_SCORE
    weights = real.unsqueeze(1) / (real.sum() * student.shape[1])
    return _mean_kl(student + padded_keys, teacher + padded_keys, weights)


def _mean_kl(student: Tensor, teacher: Tensor, rows: Optional[Tensor]) -> Tensor:
    mean: Tensor = _MeanKL.apply(student, teacher, rows)  # type: ignore[no-untyped-call]  # Paddle gives it no types
    return mean


class _MeanKL(PyLayer):
    """KL(softmax(teacher) || softmax(student)) over the last axis, averaged over rows; the student's gradient only.

    By hand because it is the largest item of a distillation step's profile: this form takes two softmaxes and no
    broadcast, where the one from log_softmax takes 2.4 times as long on a CPU. The logarithm of the normaliser
    is max(x) - log(max(softmax(x))): the largest probability is never near 0.
    """

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, rows: Optional[Tensor]) -> Tensor:
        """rows: weights of the rows, [batch, 1, length], that sum with the heads to 1; None weighs all alike."""
        p_student, p_teacher = F.softmax(student), F.softmax(teacher)
        divergence = (p_teacher * (teacher - student)).sum(-1)
        # Like with like: the sum of four would lose the digits of a small divergence under a large maximum.
        divergence += (student.max(-1) - teacher.max(-1)) + (p_teacher.max(-1).log() - p_student.max(-1).log())
        difference = p_student - p_teacher
        if rows is None:
            ctx.scale = 1.0 / divergence.size
            ctx.save_for_backward(difference)
            return divergence.mean()
        ctx.scale = 1.0
        ctx.save_for_backward(difference * rows.unsqueeze(-1))
        return (divergence * rows).sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (difference,) = ctx.saved_tensor()
        return paddle.scale(difference, gradient * ctx.scale)
