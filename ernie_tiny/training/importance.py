"""How much each neuron and head of a trained model matters to its answers, so that the least can go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from paddle import Tensor

from ernie_tiny.batch import Array, Batch
from ernie_tiny.config.schema import HardTerm, ObjectiveConfig
from ernie_tiny.distill.objective import Objective
from ernie_tiny.distill.terms import Kinds, side_of
from ernie_tiny.models.multitask import MultiTaskModel


@dataclass(frozen=True)
class Importance:
    """By how much the loss changes without a part of a layer, to first order, layer by layer.

    Attributes:
        heads: float64 [num_attention_heads], of the attention.
        neurons: float64 [intermediate_size], of the feed-forward layer.
    """

    heads: list[Array]
    neurons: list[Array]


def importance_of(model: MultiTaskModel, batches: Iterable[Batch], kinds: Kinds) -> Importance:
    """How much each head and neuron matters to the model's answers.

    The change of a row's cross-entropy without a part is |sum of h dL/dh| over the row's tokens, for a neuron's output
    h or the numbers h of a head's output, before they are mixed with those of others (Molchanov et al., arXiv
    1611.06440, eq. 8; DynaBERT, arXiv 2004.04037, 2.1), summed here over all rows. Of one row it equals
    |sum of w dL/dw| over the part's outgoing weights. It does not depend on how rows meet in batches; padding adds
    nothing.

    Args:
        model: With a head for each batch's task; nothing is dropped out.
        batches: With labels.
    """
    objective = Objective(ObjectiveConfig(hard=HardTerm()), side_of(model), None, kinds)
    layers = model.encoder.encoder.layers
    found = Importance(
        [np.zeros(layer.self_attn.num_heads) for layer in layers],
        [np.zeros(layer.linear2.weight.shape[0]) for layer in layers],
    )
    readers = {  # of a part's output, to its totals
        **{layer.self_attn.out_proj: total for layer, total in zip(layers, found.heads)},
        **{layer.linear2: total for layer, total in zip(layers, found.neurons)},
    }
    outputs: dict[Any, Tensor] = {}
    hooks = [reader.register_forward_pre_hook(lambda own, read: outputs.update({own: read[0]})) for reader in readers]
    was_training = model.training
    model.eval()
    for batch in batches:
        loss, _ = objective(model(batch, objective.student_request), None, batch)
        for output in outputs.values():  # what paddle.grad gives of them is wrong (Paddle 3.3)
            output.retain_grads()
        (loss * objective.counts(batch)["hard"]).backward()  # the loss is a mean
        for reader, output in outputs.items():
            assert output.grad is not None
            total = readers[reader]
            change = (output * output.grad).sum(axis=1).numpy()  # [rows, width], a part's numbers side by side
            total += np.abs(change.reshape([len(change), len(total), -1]).sum(axis=2)).sum(axis=0)
        model.clear_gradients(set_to_zero=False)
    for hook in hooks:
        hook.remove()
    if was_training:
        model.train()
    return found
