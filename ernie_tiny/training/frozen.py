"""Finds the parts of a model that no gradient reaches although it should."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Optional

from paddle import nn

from ernie_tiny.models.multitask import MultiTaskModel


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
