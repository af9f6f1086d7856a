"""The four heads: classes, choices, answer spans, masked tokens."""

from __future__ import annotations

from typing import Optional

import paddle
from paddle import Tensor, nn

from ernie_tiny.models.families import INITIALIZER_RANGE

MASKED_LOGIT = -1.0e4  # low enough to be 0 after a softmax, in range of float16


class ClassificationHead(nn.Layer):
    """Logits over classes from the pooled output; with one label the number that regression gives."""

    def __init__(self, hidden_size: int, num_labels: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.dense = _linear(hidden_size, num_labels)

    def forward(self, pooled: Tensor) -> Tensor:
        """[rows, hidden_size] to [rows, num_labels]."""
        return self.dense(self.dropout(pooled))


class ChoiceHead(nn.Layer):
    """Logits over the candidates of an example, one row of input a candidate."""

    def __init__(self, hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.dense = _linear(hidden_size, 1)

    def forward(self, pooled: Tensor, choice_mask: Tensor) -> Tensor:
        """[features x choices, hidden_size] to [features, choices]; choice_mask is 1 for a real candidate."""
        logits = self.dense(self.dropout(pooled)).reshape(choice_mask.shape)
        return paddle.where(choice_mask.astype("bool"), logits, paddle.full_like(logits, MASKED_LOGIT))


class SpanHead(nn.Layer):
    """Logits over the positions of an answer's first and last token."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.dense = _linear(hidden_size, 2)

    def forward(self, sequence: Tensor, attention_mask: Tensor) -> Tensor:
        """[rows, length, hidden_size] to [rows, 2, length] (start, end); padding cannot be chosen."""
        logits = self.dense(sequence).transpose([0, 2, 1])
        real = attention_mask.astype("bool").unsqueeze(1)
        return paddle.where(real, logits, paddle.full_like(logits, MASKED_LOGIT))


class MaskedTokenHead(nn.Layer):
    """Logits over the vocabulary at masked positions (BERT); the output matrix is the word embedding's.

    Args:
        embedding: [vocab_size, embedding_size].
        hidden_size: Of the layers below; by default embedding_size.
    """

    def __init__(self, embedding: Tensor, hidden_size: Optional[int] = None) -> None:
        super().__init__()
        vocab_size, embedding_size = embedding.shape
        self.transform = _linear(hidden_size or embedding_size, embedding_size)
        self.norm = nn.LayerNorm(embedding_size)
        self.bias = self.create_parameter([vocab_size], is_bias=True)

    def forward(self, sequence: Tensor, positions: Tensor, embedding: Tensor) -> Tensor:
        """[rows, length, hidden_size] to [masked, vocab_size] at the flat positions row x length + column."""
        flat = sequence.reshape([-1, sequence.shape[-1]])
        hidden = self.norm(nn.functional.gelu(self.transform(paddle.gather(flat, positions))))
        return paddle.matmul(hidden, embedding, transpose_y=True) + self.bias


def _linear(inputs: int, outputs: int) -> nn.Linear:
    initializer = nn.initializer.Normal(std=INITIALIZER_RANGE)
    return nn.Linear(inputs, outputs, weight_attr=paddle.ParamAttr(initializer=initializer))
