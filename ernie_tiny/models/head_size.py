"""Attention heads of a size of their own: fewer than fill the width, as pruning leaves them.

Paddle's layers know only heads that fill it, hidden_size = num_attention_heads x head_size. All that they compute with
is the heads' number and size and four products, which are put in here.
"""

from __future__ import annotations

import copy
from typing import Any

from paddle import nn


class SizedHeads:
    """Of an encoder on paddle.nn.TransformerEncoder: it has the `head_size` of its config, where that names one.

    Stands before the encoder's own class among the bases. PaddleNLP, which does not know the key, refuses the weights
    of such a model for their shapes.
    """

    def __init__(self, config: Any) -> None:
        heads, size = config.num_attention_heads, getattr(config, "head_size", None)
        if size is None or heads * size == config.hidden_size:
            super().__init__(config)  # type: ignore[call-arg]
            return
        filling = copy.copy(config)  # with one head as wide as the layers, whatever hidden_size is
        filling.num_attention_heads = 1
        super().__init__(filling)  # type: ignore[call-arg]
        self.config = config
        for layer in self.encoder.layers:  # type: ignore[attr-defined]
            set_heads(layer.self_attn, heads, size)
            layer.self_attn.apply(self._init_weights)  # type: ignore[attr-defined]


def heads_of(encoder: nn.Layer) -> tuple[int, int]:
    """The number of heads of a Transformer's layers, and their size."""
    attention = encoder.encoder.layers[0].self_attn
    return attention.num_heads, attention.head_dim


def set_heads(attention: nn.MultiHeadAttention, heads: int, size: int) -> None:
    """Gives an attention so many heads of a size, in place; its products are new where their shapes are."""
    width = heads * size
    if width != attention.num_heads * attention.head_dim:
        for name in ("q_proj", "k_proj", "v_proj"):
            setattr(attention, name, nn.Linear(attention.embed_dim, width))
        attention.out_proj = nn.Linear(width, attention.embed_dim)
    attention.num_heads, attention.head_dim = heads, size
