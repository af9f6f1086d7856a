"""Smaller models: rows of the embeddings that no text uses, or neurons that matter least, are cut out."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import paddle
from paddle import nn

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
        kept: Old ids, each once; [PAD]'s is among them.
    """
    config = copy.deepcopy(model.encoder.config)
    config.vocab_size = len(kept)
    if config.pad_token_id is not None:
        config.pad_token_id = list(kept).index(config.pad_token_id)
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
        kept = to_tensor(np.sort(np.argsort(-values, kind="stable")[:count]))
        for name, axis in (("linear1", 1), ("linear2", 0)):
            wide = getattr(layer, name)
            weight = paddle.gather(wide.weight, kept, axis)
            narrow = nn.Linear(*weight.shape)
            narrow.weight.set_value(weight)
            narrow.bias.set_value(paddle.gather(wide.bias, kept) if axis else wide.bias)
            setattr(layer, name, narrow)
