"""Answers of a trained model to every example of a split."""

from __future__ import annotations

from collections.abc import Sequence

import paddle

from ernie_tiny import processes
from ernie_tiny.batch import Array, Batch, Feature
from ernie_tiny.data.task import Example, Prediction, TaskSpec
from ernie_tiny.kinds.ask import answer
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.models.signals import SignalRequest


def predict(
    model: MultiTaskModel,
    spec: TaskSpec,
    examples: Sequence[Example],
    features: Sequence[Feature],
    pad_id: int,
    batch_tokens: int = 8192,
) -> list[Prediction]:
    """The model's predictions in the order of the examples; see ernie_tiny.kinds.ask for the arguments.

    All processes share the work and have all predictions, equal to those of one process.
    """

    def network(batch: Batch) -> Array:
        return model(batch, SignalRequest(logits=True)).logits.numpy()

    was_training = model.training
    model.eval()
    with paddle.no_grad():
        predictions = answer(
            spec,
            examples,
            features,
            pad_id,
            batch_tokens,
            network,
            processes.rank(),
            processes.world_size(),
            processes.gather,
        )
    if was_training:
        model.train()
    return predictions
