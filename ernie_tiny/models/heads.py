"""The layers of heads: the three forms of ernie_tiny.models.forms, and the head for masked tokens."""

from __future__ import annotations

from typing import Optional

import paddle
from paddle import Tensor, nn

from ernie_tiny.kind_facts import CANDIDATE, POSITION, ROW
from ernie_tiny.models.cpu_layers import add_bias
from ernie_tiny.models.families import INITIALIZER_RANGE
from ernie_tiny.models.forms import MASKED_LOGIT, HeadSpec


class RowHead(nn.Layer):
    """An output vector a row, from the pooled output."""

    form = ROW
    reads_tokens = False

    def __init__(self, hidden_size: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.dense = _linear(hidden_size, outputs)

    def forward(self, sequence: Tensor, pooled: Tensor, attention_mask: Tensor) -> Tensor:
        """The logits of rows that are on their own, [rows, outputs].

        Args:
            sequence: [rows, length, hidden_size], the encoder's output at each token.
            pooled: [rows, hidden_size], that of the whole row.
            attention_mask: [rows, length], 1 for a token, 0 for padding.
        """
        return self.dense(self.dropout(pooled))

    def arrange(self, logits: Tensor, choice_mask: Optional[Tensor]) -> Tensor:
        """Logits of rows to those of features, [features, outputs]: a feature is a row."""
        return logits


class CandidateHead(RowHead):
    """A logit for each candidate of a feature, one row of input a candidate."""

    form = CANDIDATE

    def arrange(self, logits: Tensor, choice_mask: Optional[Tensor]) -> Tensor:
        """[features x choices, 1] to [features, choices]; choice_mask is 1 for a real candidate."""
        assert choice_mask is not None
        logits = logits.reshape(choice_mask.shape)
        return paddle.where(choice_mask.astype("bool"), logits, paddle.full_like(logits, MASKED_LOGIT))


class PositionHead(nn.Layer):
    """An output vector a position, from the output at each token, which the encoder's last layer has given dropout."""

    form = POSITION
    reads_tokens = True

    def __init__(self, hidden_size: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.dense = _linear(hidden_size, outputs)

    def forward(self, sequence: Tensor, pooled: Tensor, attention_mask: Tensor) -> Tensor:
        """[rows, outputs, length], padding at -10,000 so that it cannot be chosen; arguments are those of RowHead."""
        logits = self.dense(sequence).transpose([0, 2, 1])
        real = attention_mask.astype("bool").unsqueeze(1)
        return paddle.where(real, logits, paddle.full_like(logits, MASKED_LOGIT))

    def arrange(self, logits: Tensor, choice_mask: Optional[Tensor]) -> Tensor:
        """Logits of rows to those of features: a feature is a row."""
        return logits


HEADS = {head.form: head for head in (RowHead, CandidateHead, PositionHead)}


def build_head(spec: HeadSpec, hidden_size: int, dropout: float) -> nn.Layer:
    """The layer of a head, with random weights."""
    return HEADS[spec.form](hidden_size, spec.outputs, dropout)


class MaskedTokenHead(nn.Layer):
    """Logits over the vocabulary at masked positions (BERT); the output matrix is the word embedding's.

    Args:
        embedding: [vocab_size, embedding_size].
        hidden_size: Of the layers below; by default embedding_size.
        activation: Of nn.functional.
    """

    def __init__(self, embedding: Tensor, hidden_size: Optional[int] = None, activation: str = "gelu") -> None:
        super().__init__()
        self.activation = getattr(nn.functional, activation)
        vocab_size, embedding_size = embedding.shape
        self.transform = _linear(hidden_size or embedding_size, embedding_size)
        self.norm = nn.LayerNorm(embedding_size)
        self.bias = self.create_parameter([vocab_size], is_bias=True)

    def forward(self, sequence: Tensor, positions: Tensor, embedding: Tensor) -> Tensor:
        """[rows, length, hidden_size] to [masked, vocab_size] at the flat positions row x length + column."""
        flat = sequence.reshape([-1, sequence.shape[-1]])
        hidden = self.norm(self.activation(self.transform(paddle.gather(flat, positions))))
        return add_bias(paddle.matmul(hidden, embedding, transpose_y=True), self.bias)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    initializer = nn.initializer.Normal(std=INITIALIZER_RANGE)
    return nn.Linear(inputs, outputs, weight_attr=paddle.ParamAttr(initializer=initializer))
