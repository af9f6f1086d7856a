"""The terms of an objective: which signals each one reads, and which loss it takes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Optional

import paddle
from paddle import Tensor, nn

from ernie_tiny.batch import Batch
from ernie_tiny.config.layer_map import layer_map
from ernie_tiny.config.schema import AttentionTerm, HiddenTerm, RelationTerm, SoftTerm
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
from ernie_tiny.kinds.kind import Decisions, Kind
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.models.signals import SignalRequest, Signals, to_tensor

PROJECTIONS = {"qq": "queries", "kk": "keys", "vv": "values"}
Kinds = Mapping[str, Kind]  # task to the kind that makes decisions of its head's logits
NOTHING = SignalRequest()
LOGITS = SignalRequest(logits=True)


@dataclass(frozen=True)
class Side:
    """What the terms have to know of the student or the teacher."""

    num_layers: int
    num_heads: int
    width: int


def side_of(model: MultiTaskModel) -> Side:
    """The side that a model is; one that is no Transformer has no attention heads."""
    config = model.encoder.config
    return Side(model.num_layers, getattr(config, "num_attention_heads", 0), config.hidden_size)


class TermLoss(nn.Layer):
    """A term of an objective: its `forward(student, teacher, batch)` is the raw loss, a scalar.

    Attributes:
        student, teacher: The signals that it reads; a teacher is needed when those of `teacher` are not nothing.
    """

    def __init__(self, student: SignalRequest, teacher: SignalRequest = NOTHING) -> None:
        super().__init__()
        self.student, self.teacher = student, teacher

    def count(self, batch: Batch) -> int:
        """How many things the loss is the mean of; the batches of a step are weighed by it. Here real tokens."""
        return int(batch.token_mask.sum())


class AnswerLoss(TermLoss):
    """A term that reads the answers of a task's head: a mean over the decisions that its kind makes of them."""

    def __init__(self, kinds: Kinds, teacher: SignalRequest = NOTHING) -> None:
        super().__init__(LOGITS, teacher)
        self._kinds = kinds

    def count(self, batch: Batch) -> int:
        return self._kinds[batch.task].count(batch)

    def table(self, signals: Signals, batch: Batch) -> Decisions:
        return self._kinds[batch.task].decisions(signals.logits, batch)


class Hard(AnswerLoss):
    """Gold labels: the mean over the decisions that have one, whatever stands beside them; 0 where none has."""

    def __init__(self, term: Any, student: Side, teacher: Optional[Side], kinds: Kinds) -> None:
        super().__init__(kinds)

    def count(self, batch: Batch) -> int:
        labelled = batch.labelled
        return super().count(batch.only(labelled)) if labelled.any() else 0

    def forward(self, student: Signals, teacher: Signals, batch: Batch) -> Tensor:
        table = self.table(student, batch)
        chosen = table.labelled
        if len(chosen) == 0 or table.labels is None:
            return _nothing(table)
        if len(chosen) < len(table.labels):
            logits = paddle.gather(table.logits, to_tensor(chosen))
            table = replace(table, logits=logits, labels=table.labels[chosen])
        return supervised_loss(table, batch.task)


class MaskedTokens(TermLoss):
    """The original tokens at masked positions, each a decision over the vocabulary."""

    def __init__(self, term: Any, student: Side, teacher: Optional[Side], kinds: Kinds) -> None:
        super().__init__(LOGITS)

    def count(self, batch: Batch) -> int:
        return 0 if batch.masked_positions is None else len(batch.masked_positions)

    def forward(self, student: Signals, teacher: Signals, batch: Batch) -> Tensor:
        return supervised_loss(Decisions(student.logits, batch.labels), batch.task)


class Soft(AnswerLoss):
    """The teacher's answers, softened; of regression its number, which has no distribution to soften."""

    def __init__(self, term: SoftTerm, student: Side, teacher: Side, kinds: Kinds) -> None:
        super().__init__(kinds, LOGITS)
        self.temperature = term.temperature

    def forward(self, student: Signals, teacher: Signals, batch: Batch) -> Tensor:
        own, other = self.table(student, batch), self.table(teacher, batch)
        if own.logits.shape[0] == 0:
            return _nothing(own)
        if own.numeric:
            return logit_mse(own.logits, other.logits)
        return soft_label_kl(own.logits, other.logits, self.temperature)


class LogitMse(AnswerLoss):
    """The teacher's logits."""

    def __init__(self, term: Any, student: Side, teacher: Side, kinds: Kinds) -> None:
        super().__init__(kinds, LOGITS)

    def forward(self, student: Signals, teacher: Signals, batch: Batch) -> Tensor:
        own, other = self.table(student, batch), self.table(teacher, batch)
        if own.logits.shape[0] == 0:
            return _nothing(own)
        return logit_mse(own.logits, other.logits, None if own.real is None else to_tensor(own.real))


class Relation(TermLoss):
    """Relations between the tokens of an input, in one layer of each model."""

    loss = staticmethod(relation_kl)

    def __init__(self, term: RelationTerm, student: Side, teacher: Side, kinds: Kinds) -> None:
        self.student_layer = _layer("student", term.student_layer, student.num_layers)
        self.teacher_layer = _layer("teacher", term.teacher_layer, teacher.num_layers)
        super().__init__(
            SignalRequest(projections=frozenset([self.student_layer])),
            SignalRequest(projections=frozenset([self.teacher_layer])),
        )
        self.vectors = [PROJECTIONS[pair] for pair in term.pairs]
        self.relation_heads = term.relation_heads

    def forward(self, student: Signals, teacher: Signals, batch: Batch) -> Tensor:
        mask = to_tensor(batch.token_mask)
        losses = [
            self.loss(
                getattr(student, vectors)[self.student_layer],
                getattr(teacher, vectors)[self.teacher_layer],
                mask,
                self.relation_heads,
            )
            for vectors in self.vectors
        ]
        return paddle.add_n(losses)


class SampleRelation(Relation):
    """Relations between the inputs of a batch, in one layer of each model."""

    loss = staticmethod(sample_relation_kl)


class Attention(TermLoss):
    """Attention of mapped layers; their mean."""

    losses = {"mse": attention_mse, "kl": attention_kl}

    def __init__(self, term: AttentionTerm, student: Side, teacher: Side, kinds: Kinds) -> None:
        self.pairs = layer_map(term.layers, student.num_layers, teacher.num_layers)
        super().__init__(
            SignalRequest(projections=frozenset(own for own, _ in self.pairs)),
            SignalRequest(projections=frozenset(other for _, other in self.pairs)),
        )
        self.form, self.loss = term.form, self.losses[term.form]
        self.heads = (term.heads or student.num_heads, term.heads or teacher.num_heads)

    def count(self, batch: Batch) -> int:
        tokens = batch.token_mask.sum(axis=1)
        return int((tokens**2).sum() if self.form == "mse" else tokens.sum())  # mse: pairs of tokens

    def forward(self, student: Signals, teacher: Signals, batch: Batch) -> Tensor:
        mask = to_tensor(batch.token_mask)
        losses = [
            self.loss(
                student.queries[own],
                student.keys[own],
                teacher.queries[other],
                teacher.keys[other],
                mask,
                *self.heads,
            )
            for own, other in self.pairs
        ]
        return paddle.add_n(losses) / len(losses)


class Hidden(TermLoss):
    """Outputs of mapped layers, the student's projected to the teacher's width; their mean."""

    def __init__(self, term: HiddenTerm, student: Side, teacher: Side, kinds: Kinds) -> None:
        self.pairs = layer_map(term.layers, student.num_layers, teacher.num_layers)
        super().__init__(
            SignalRequest(hidden=frozenset(own for own, _ in self.pairs)),
            SignalRequest(hidden=frozenset(other for _, other in self.pairs)),
        )
        count = 1 if term.shared_projection else len(self.pairs)
        self.projections = nn.LayerList([_projection(student, teacher) for _ in range(count)])

    def forward(self, student: Signals, teacher: Signals, batch: Batch) -> Tensor:
        mask = to_tensor(batch.token_mask)
        losses = [
            hidden_mse(
                self.projections[number % len(self.projections)](student.hidden[own]),
                teacher.hidden[other],
                mask,
            )
            for number, (own, other) in enumerate(self.pairs)
        ]
        return paddle.add_n(losses) / len(losses)


class Embedding(TermLoss):
    """Output of the embeddings, the student's projected to the teacher's width."""

    def __init__(self, term: Any, student: Side, teacher: Side, kinds: Kinds) -> None:
        super().__init__(SignalRequest(embeddings=True), SignalRequest(embeddings=True))
        self.projection = _projection(student, teacher)

    def forward(self, student: Signals, teacher: Signals, batch: Batch) -> Tensor:
        return hidden_mse(self.projection(student.embeddings), teacher.embeddings, to_tensor(batch.token_mask))


TERMS: dict[str, Any] = {
    "hard": Hard,
    "mlm": MaskedTokens,
    "soft": Soft,
    "logit_mse": LogitMse,
    "relation": Relation,
    "sample_relation": SampleRelation,
    "attention": Attention,
    "hidden": Hidden,
    "embedding": Embedding,
}


def supervised_loss(table: Decisions, source: str) -> Tensor:
    """Mean cross-entropy of decisions with their labels, or mean squared error where they are numeric.

    Raises:
        ValueError: the table has no labels; `source` names what it is of.
    """
    if table.labels is None:
        raise ValueError(f"a batch of {source or 'general text'} has no labels")
    labels = to_tensor(table.labels)
    return logit_mse(table.logits, labels.unsqueeze(-1)) if table.numeric else cross_entropy(table.logits, labels)


def _nothing(table: Decisions) -> Tensor:
    """0, with a gradient in every process, where a batch decides nothing: empty texts have no tokens to tag."""
    nothing: Tensor = (table.logits * 0.0).sum().astype("float32")
    return nothing


def _projection(student: Side, teacher: Side) -> nn.Linear:
    """W of TinyBERT's eq. 8 and 9 (arXiv 1909.10351): student width to teacher width, no bias."""
    return nn.Linear(student.width, teacher.width, bias_attr=False)


def _layer(side: str, index: int, count: int) -> int:
    """A layer counted from 0; a shape that no config states is known only here."""
    if not -count <= index < count:
        raise InputError(f"{side}_layer = {index}: the {side} has the layers 0 to {count - 1}.")
    return index % count
