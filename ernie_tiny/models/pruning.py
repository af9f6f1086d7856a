"""Smaller models: rows of the embeddings that no text uses, or neurons and heads that matter least, are cut out."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import paddle
from paddle import Tensor, nn

from ernie_tiny.batch import Array
from ernie_tiny.models.families import family_of
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.models.signals import to_tensor

ROWS_OF_TOKENS = ("encoder.embeddings.word_embeddings.weight", "masked_token_head.bias")


def prune_vocabulary(model: MultiTaskModel, kept: Sequence[int]) -> MultiTaskModel:
    """A model that knows some of the tokens: its id i is what `kept[i]` was.

    For a text in the new ids its answers are the model's for the same text; of the logits over the vocabulary those of
    the kept tokens are left.

    Args:
        kept: Old ids, each once; [PAD]'s and [SEP]'s are among them.
    """
    config = copy.deepcopy(model.encoder.config)
    config.vocab_size = len(kept)
    for name in ("pad_token_id", "sep_token_id"):  # a BiLSTM splits pairs at the latter
        if getattr(config, name, None) is not None:
            setattr(config, name, list(kept).index(getattr(config, name)))
    weights = {
        name: paddle.gather(value, to_tensor(list(kept))) if name in ROWS_OF_TOKENS else value
        for name, value in model.state_dict().items()
    }
    pruned = MultiTaskModel(
        family_of(model.encoder).construct(config), model.head_specs.values(), model.masked_token_head is not None
    )
    pruned.set_state_dict(weights)
    return pruned


def keep_neurons(encoder: nn.Layer, importance: Sequence[Array], count: int) -> None:
    """Cuts every feed-forward layer down to its `count` most important neurons, in place, in the order they had.

    Args:
        importance: Of each layer, [its neurons]; where two are equal the first stays.
    """
    for layer, values in zip(encoder.encoder.layers, importance):
        kept = _largest(values, count)
        layer.linear1, layer.linear2 = _columns(layer.linear1, kept), _rows(layer.linear2, kept)


def keep_heads(encoder: nn.Layer, importance: Sequence[Array], count: int) -> None:
    """Cuts every attention down to its `count` most important heads, in place, of the size and order they had.

    Args:
        importance: Of each layer, [its heads]; where two are equal the first stays.
    """
    for layer, values in zip(encoder.encoder.layers, importance):
        attention = layer.self_attn
        kept = (_largest(values, count)[:, None] * attention.head_dim + np.arange(attention.head_dim)).reshape(-1)
        for name in ("q_proj", "k_proj", "v_proj"):
            setattr(attention, name, _columns(getattr(attention, name), kept))
        attention.out_proj = _rows(attention.out_proj, kept)
        attention.num_heads = min(count, len(values))


def _largest(values: Array, count: int) -> Array:
    kept: Array = np.sort(np.argsort(-values, kind="stable")[:count])
    return kept


def _columns(wide: nn.Linear, kept: Array) -> nn.Linear:
    """The layer with these of its outputs."""
    return _linear(paddle.gather(wide.weight, to_tensor(kept), 1), paddle.gather(wide.bias, to_tensor(kept)))


def _rows(wide: nn.Linear, kept: Array) -> nn.Linear:
    """The layer with these of its inputs."""
    return _linear(paddle.gather(wide.weight, to_tensor(kept), 0), wide.bias)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    narrow = nn.Linear(*weight.shape)
    narrow.weight.set_value(weight)
    narrow.bias.set_value(bias)
    return narrow
