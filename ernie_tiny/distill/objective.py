"""A stage's objective: a weighted sum of named terms, each of which says which signals it reads."""

from __future__ import annotations

from typing import Optional

import paddle
from paddle import Tensor, nn

from ernie_tiny.batch import Batch
from ernie_tiny.config.schema import ObjectiveConfig, RelationTerm
from ernie_tiny.distill.losses import cross_entropy, relation_kl, span_cross_entropy
from ernie_tiny.errors import InputError
from ernie_tiny.models.signals import SignalRequest, Signals, to_tensor

PROJECTIONS = {"qq": "queries", "kk": "keys", "vv": "values"}


class Objective(nn.Layer):
    """The terms of an ObjectiveConfig over the signals of a student and, where needed, a teacher."""

    def __init__(self, config: ObjectiveConfig, student_layers: int, teacher_layers: int = 0) -> None:
        super().__init__()
        self.config = config
        self.weights: dict[str, float] = {name: term.weight for name, term in config.terms().items()}  # type: ignore[attr-defined]
        student_projections: frozenset[int] = frozenset()
        self.teacher_request = SignalRequest()
        if config.relation is not None:
            self.student_layer = _layer("student", config.relation.student_layer, student_layers)
            self.teacher_layer = _layer("teacher", config.relation.teacher_layer, teacher_layers)
            student_projections = frozenset([self.student_layer])
            self.teacher_request = SignalRequest(projections=frozenset([self.teacher_layer]))
        supervised = config.hard is not None or config.mlm is not None
        self.student_request = SignalRequest(logits=supervised, projections=student_projections)

    def forward(self, student: Signals, teacher: Optional[Signals], batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, and each raw term by name."""
        terms: dict[str, Tensor] = {}
        if self.config.hard is not None:
            terms["hard"] = supervised_loss(student, batch)
        if self.config.mlm is not None:
            terms["mlm"] = supervised_loss(student, batch)
        if self.config.relation is not None:
            if teacher is None:
                raise ValueError("the relation term needs a teacher's signals")
            terms["relation"] = self._relation(self.config.relation, student, teacher)
        total = paddle.add_n([self.weights[name] * value for name, value in terms.items()])
        return total, terms

    def _relation(self, term: RelationTerm, student: Signals, teacher: Signals) -> Tensor:
        losses = [
            relation_kl(
                getattr(student, PROJECTIONS[pair])[self.student_layer],
                getattr(teacher, PROJECTIONS[pair])[self.teacher_layer],
                student.attention_mask,
                term.relation_heads,
            )
            for pair in term.pairs
        ]
        return paddle.add_n(losses)


def _layer(side: str, index: int, count: int) -> int:
    """A layer counted from 0; a shape that no config states is known only here."""
    if not -count <= index < count:
        raise InputError(f"relation.{side}_layer = {index}: the {side} has the layers 0 to {count - 1}.")
    return index % count


def supervised_loss(signals: Signals, batch: Batch) -> Tensor:
    """Mean cross-entropy of a batch's logits with its labels, for every kind of head.

    Raises:
        ValueError: the batch has no labels.
    """
    if batch.labels is None or signals.logits is None:
        raise ValueError(f"a batch of {batch.task or 'general text'} has no labels")
    loss = span_cross_entropy if signals.logits.ndim == 3 else cross_entropy
    return loss(signals.logits, to_tensor(batch.labels))
