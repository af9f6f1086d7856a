"""Losses as pure functions of tensors and a mask. Each is a mean over what is real: tokens or examples."""

from __future__ import annotations

from typing import Any, Optional

import paddle
import paddle.nn.functional as F
from paddle import Tensor
from paddle.autograd import PyLayer

from ernie_tiny.errors import InputError

MASKED_SCORE = -1.0e9  # relations are computed in float32, whatever the precision of the models


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy with class labels, in nats.

    Args:
        logits: [examples, classes]. A class that an example lacks stands at -10,000 and takes no part.
        labels: int64 [examples].
    Returns:
        A scalar, the mean over examples. Also the loss of masked tokens, with one "example" a token.
    """
    return F.cross_entropy(logits.astype("float32"), labels)


def span_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean of the cross-entropies of an answer's first and last position, in nats (BERT, arXiv 1810.04805, 4.2).

    Args:
        logits: [windows, 2, length], start and end; padding stands at -10,000.
        labels: int64 [windows, 2], token positions; (0, 0) for a window without the answer.
    Returns:
        A scalar, the mean over windows and over start and end.
    """
    return cross_entropy(logits.reshape([-1, logits.shape[-1]]), labels.reshape([-1]))


def relation_kl(student: Tensor, teacher: Tensor, mask: Tensor, relation_heads: int) -> Tensor:
    """Mean KL(teacher || student) between self-attention relations (MiniLMv2, arXiv 2012.15828).

    A relation is softmax(A Aᵀ / sqrt(width / relation_heads)) for A one of query, key, value, its width
    split into `relation_heads`. The widths of the two models may differ; their relations are length x length.

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
        scores = _relation_scores(student, relation_heads)
        with paddle.no_grad():
            teacher_scores = _relation_scores(teacher, relation_heads)
        if bool(mask.all()):
            return _MeanKL.apply(scores, teacher_scores, None)
        real = mask.astype("float32")
        padded_keys = (1.0 - real).unsqueeze([1, 2]) * MASKED_SCORE
        rows = real.unsqueeze(1) / (real.sum() * relation_heads)
        return _MeanKL.apply(scores + padded_keys, teacher_scores + padded_keys, rows)


def _relation_scores(vectors: Tensor, relation_heads: int) -> Tensor:
    """A Aᵀ / sqrt(width / relation_heads): [batch, length, width] to [batch, relation_heads, length, length]."""
    batch, length, width = vectors.shape
    if width % relation_heads:
        raise InputError(f"relation_heads = {relation_heads} does not divide the width {width} of a model's layers.")
    head_width = width // relation_heads
    heads = vectors.astype("float32").reshape([batch, length, relation_heads, head_width]).transpose([0, 2, 1, 3])
    return paddle.matmul(heads * head_width**-0.5, heads, transpose_y=True)


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
