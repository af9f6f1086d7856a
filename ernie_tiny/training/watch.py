"""What is looked at while a stage trains: whether its loss is a number, and whether its gradients arrive."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from paddle import Tensor, nn

from ernie_tiny.batch import Batch
from ernie_tiny.errors import InputError
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.training.checkpoint import latest_checkpoint
from ernie_tiny.training.network import StageNetwork

SHOWN_IDS = 5


def require_finite(
    loss: Tensor, batches: Sequence[tuple[Batch, Mapping[str, Tensor]]], folder: Path, step: int
) -> None:
    """Raises an InputError, with the batch and the term, when a loss is no longer finite.

    Args:
        loss: Scalar, the sum over the running logging interval. A GPU is waited for.
        batches: Those of the step, each with its raw terms.
        folder: Of the stage; the message names its last checkpoint.
        step: The one that ends now, counted from 1.
    """
    if math.isfinite(float(loss)):
        return
    found = [
        (batch, name, float(value))
        for batch, terms in batches
        for name, value in terms.items()
        if not math.isfinite(float(value))
    ]
    batch, name, value = found[0] if found else (batches[-1][0], "all together", float(loss))
    ids = ", ".join(map(repr, batch.example_ids[:SHOWN_IDS])) + (", ..." if batch.example_ids[SHOWN_IDS:] else "")
    raise InputError(
        f"{folder}: step {step}: the loss ({name}) is {value} for the batch of {batch.task or 'general text'} with "
        f"{ids}. Last good checkpoint: {latest_checkpoint(folder) or 'none'}. Look at these examples. If they are "
        "sound, lower optim.learning_rate or raise optim.warmup_ratio, and give the run another output_dir."
    )


class GradientWatch:
    """Notes in the first logging interval which parameters get a gradient, and says once which parts do not."""

    def __init__(self, network: StageNetwork, folder: Path) -> None:
        self._network, self._folder = network, folder
        self._learning: set[str] = set()  # parameters with a gradient, and
        self._answered: set[Optional[str]] = set()  # tasks, None for masked tokens, so far
        self._judged = False

    def look(self, batches: Sequence[Batch]) -> None:
        """Notes what has a gradient after the backward passes of a step's batches."""
        if not self._judged:
            self._learning |= {weight.name for weight in self._network.parameters() if weight.grad is not None}
            self._answered |= {batch.task if batch.masked_positions is None else None for batch in batches}

    def judge(self) -> list[str]:
        """A sentence for each model of which some part gets no gradient although it should; none the second time."""
        if self._judged:
            return []
        self._judged, sentences = True, []
        for name, objective in self._network.objectives.items():
            answered = self._answered if objective.student_request.logits else set()
            unreached = parts_without_gradient(self._network.models[name], self._learning, answered)
            if unreached:
                sentences.append(
                    f"{self._folder}: no gradient reaches {', '.join(unreached)} of {name}: it stays as it is. Look at "
                    "what the objective reads of the model."
                )
        return sentences


def parts_without_gradient(
    model: MultiTaskModel, learning: Collection[str], answered: Collection[Optional[str]]
) -> list[str]:
    """The parts of a model, from below, that should have got a gradient by now and have none.

    The parts are the embeddings, each layer, and the head of each task that was answered. A part learns if one of its
    parameters does. A gradient comes from above: below a part that learns, every part has to. What lies above the
    topmost one is not asked, since objectives may end there: the relations of a layer leave out its rest and the
    layers above it. A head that was answered has to learn.

    Args:
        learning: Names (Tensor.name) of the parameters that have had a gradient.
        answered: The tasks whose logits the objective has read, None for masked tokens.
    """
    encoder: Any = model.encoder
    body: list[tuple[str, nn.Layer]] = [("the embeddings", encoder.embeddings)]
    body += [(f"layer {number}", layer) for number, layer in enumerate(encoder.encoder.layers)]
    heads = [(f"the head of {task}", model.heads[task]) for task in answered if task is not None]
    if None in answered and model.masked_token_head is not None:
        heads.append(("the head of masked tokens", model.masked_token_head))
    reached = [
        name for name, part in (*body, *heads) if any(parameter.name in learning for parameter in part.parameters())
    ]
    if not reached:
        return ["any part"]
    below = next((number for number, (name, _) in enumerate(body) if name == reached[-1]), len(body))
    return [name for name, _ in (*body[:below], *heads) if name not in reached]
