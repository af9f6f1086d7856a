"""The shape of a Transformer that is built in milliseconds; tests change what they look at."""

from __future__ import annotations

TINY = {
    "num_hidden_layers": 2,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 40,
    "max_position_embeddings": 24,
    "type_vocab_size": 2,
}
