"""How the outputs at a row's tokens become one vector for the row: a value of a model, `pooling` of its config."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Callable

from paddle import Tensor, nn

from ernie_tiny.family_facts import FIRST_TOKEN, MEAN

Pooling = Callable[[Tensor, Tensor, Tensor], Tensor]


def pooling_of(encoder: nn.Layer) -> str:
    """The name of an encoder's pooling; one that its config does not name is the first token's."""
    return str(getattr(encoder.config, "pooling", FIRST_TOKEN))


def encode(
    encoder: nn.Layer, input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor
) -> tuple[Tensor, Tensor]:
    """What heads read: [rows, length, hidden_size], and [rows, hidden_size] by the encoder's pooling.

    Args:
        input_ids, token_type_ids, attention_mask: int64 [rows, length]; the mask is 1 for a token, 0 for padding.
            Types are all 0 for an encoder that knows only one (RoBERTa, ernie-3.0-tiny-mini-v2-en).
    """
    types = token_type_ids * 0 if encoder.config.type_vocab_size == 1 else token_type_ids
    sequence, pooled = encoder(input_ids, token_type_ids=types, attention_mask=attention_mask)[:2]
    return sequence, POOLINGS[pooling_of(encoder)](sequence, pooled, attention_mask)


def _first_token(sequence: Tensor, pooled: Tensor, attention_mask: Tensor) -> Tensor:
    """What the encoder itself gives: the first token through its pooler."""
    return pooled


def _mean(sequence: Tensor, pooled: Tensor, attention_mask: Tensor) -> Tensor:
    """The mean of the outputs at real tokens, special ones included (Sentence-BERT, arXiv 1908.10084, 3)."""
    real = attention_mask.astype(sequence.dtype).unsqueeze(-1)
    return (sequence * real).sum(axis=1) / real.sum(axis=1)


POOLINGS: Mapping[str, Pooling] = MappingProxyType({FIRST_TOKEN: _first_token, MEAN: _mean})
