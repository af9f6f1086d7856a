"""How much each neuron of a trained model's feed-forward layers matters to its answers, so that the least can go."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from paddle import Tensor

from ernie_tiny.batch import Array, Batch
from ernie_tiny.config.schema import HardTerm, ObjectiveConfig
from ernie_tiny.distill.objective import Objective
from ernie_tiny.distill.terms import Kinds, side_of
from ernie_tiny.models.multitask import MultiTaskModel


def neuron_importance(model: MultiTaskModel, batches: Iterable[Batch], kinds: Kinds) -> list[Array]:
    """Of each layer, float64 [intermediate_size]: by how much the loss changes without a neuron, to first order.

    The change of a row's cross-entropy is |sum over its tokens of h dL/dh| for the neuron's output h (Molchanov et al.,
    arXiv 1611.06440, eq. 8; DynaBERT, arXiv 2004.04037, 2.1), summed here over all rows. Of one row it equals
    |sum of w dL/dw| over the neuron's outgoing weights. It does not depend on how rows meet in batches; padding adds
    nothing.

    Args:
        model: With a head for each batch's task; nothing is dropped out.
        batches: With labels.
    """
    objective = Objective(ObjectiveConfig(hard=HardTerm()), side_of(model), None, kinds)
    layers = [layer.linear2 for layer in model.encoder.encoder.layers]
    found = [np.zeros(layer.weight.shape[0]) for layer in layers]
    outputs: list[Tensor] = []
    hooks = [layer.register_forward_pre_hook(lambda _, inputs: outputs.append(inputs[0])) for layer in layers]
    was_training = model.training
    model.eval()
    for batch in batches:
        outputs.clear()
        loss, _ = objective(model(batch, objective.student_request), None, batch)
        for output in outputs:  # what paddle.grad gives of them is wrong (Paddle 3.3)
            output.retain_grads()
        (loss * objective.counts(batch)["hard"]).backward()  # the loss is a mean
        for total, output in zip(found, outputs):
            assert output.grad is not None
            total += np.abs((output * output.grad).sum(axis=1).numpy()).sum(axis=0)
        model.clear_gradients(set_to_zero=False)
    for hook in hooks:
        hook.remove()
    if was_training:
        model.train()
    return found
