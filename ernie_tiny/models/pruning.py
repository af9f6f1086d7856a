"""A model with a smaller vocabulary: the rows of its embeddings that its texts never use are cut out."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import paddle

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
