"""How the outputs at a row's tokens become one vector for the row: a value of a model, `pooling` of its config."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any, Callable, Optional

from paddle import Tensor, nn

from ernie_tiny.family_facts import FIRST_TOKEN, MEAN
from ernie_tiny.models.signals import with_layers

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


def without_what_is_not_read(encoder: nn.Layer, reads_tokens: bool) -> AbstractContextManager[None]:
    """Inside the block the last layer computes its output at the first token alone, where that is all that is read.

    Args:
        reads_tokens: Whether a head, or who asked for signals, reads the output at every token; a pooling may too.
    """
    if reads_tokens or pooling_of(encoder) != FIRST_TOKEN or not isinstance(encoder.encoder, nn.TransformerEncoder):
        return nullcontext()
    layers = encoder.encoder.layers
    return with_layers(encoder, [*layers[:-1], FirstTokenLayer(layers[-1])])


class FirstTokenLayer(nn.Layer):
    """A layer that gives its output at the first token alone: keys and values of all tokens, all else of one."""

    def __init__(self, layer: nn.TransformerEncoderLayer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, src: Tensor, src_mask: Optional[Tensor] = None, cache: Any = None, **_: Any) -> Tensor:
        """[rows, length, hidden_size] to [rows, 1, hidden_size]."""
        layer = self.layer
        read = layer.norm1(src) if layer.normalize_before else src
        first = src[:, :1] + layer.dropout1(layer.self_attn(read[:, :1], read, read, src_mask))
        first = first if layer.normalize_before else layer.norm1(first)
        read = layer.norm2(first) if layer.normalize_before else first
        first = first + layer.dropout2(layer.linear2(layer.dropout(layer.activation(layer.linear1(read)))))
        return first if layer.normalize_before else layer.norm2(first)


def _first_token(sequence: Tensor, pooled: Tensor, attention_mask: Tensor) -> Tensor:
    """What the encoder itself gives: the first token through its pooler."""
    return pooled


def _mean(sequence: Tensor, pooled: Tensor, attention_mask: Tensor) -> Tensor:
    """The mean of the outputs at real tokens, special ones included (Sentence-BERT, arXiv 1908.10084, 3)."""
    real = attention_mask.astype(sequence.dtype).unsqueeze(-1)
    return (sequence * real).sum(axis=1) / real.sum(axis=1)


POOLINGS: Mapping[str, Pooling] = MappingProxyType({FIRST_TOKEN: _first_token, MEAN: _mean})
