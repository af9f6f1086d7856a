"""Networks as files that an inference engine reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paddle
from paddle import nn
from paddle.static import InputSpec

from ernie_tiny.errors import InputError

MODEL_PREFIX = "model"
INPUTS = ("input_ids", "token_type_ids", "attention_mask")


def export_network(network: nn.Layer, folder: Path) -> None:
    """Writes a network in Paddle's PIR format, model.json and model.pdiparams.

    Args:
        network: Takes int64 [rows, length] three times (INPUTS; attention_mask is 1 for a token, 0 for padding) and
            returns a tensor or a list of tensors. It is set to eval mode.
    """
    folder.mkdir(parents=True, exist_ok=True)
    network.eval()
    signature = [InputSpec([None, None], "int64", name) for name in INPUTS]
    with _without_dropout(network):
        static = paddle.jit.to_static(network, input_spec=signature, full_graph=True)
        paddle.jit.save(static, str(folder / MODEL_PREFIX))


@contextmanager
def _without_dropout(network: nn.Layer) -> Iterator[None]:
    """Inside the block the network has no dropout: in eval mode it changes nothing, but engines copy tensors for it."""
    places = {nn.Dropout: "p", nn.MultiHeadAttention: "dropout"}
    found = [
        (layer, attribute)
        for layer in network.sublayers(include_self=True)
        for kind, attribute in places.items()
        if isinstance(layer, kind)
    ]
    kept = [getattr(layer, attribute) for layer, attribute in found]
    try:
        for layer, attribute in found:
            setattr(layer, attribute, 0.0)
        yield
    finally:
        for (layer, attribute), probability in zip(found, kept):
            setattr(layer, attribute, probability)


def missing_file(file: Path) -> InputError:
    """What is said where a folder lacks the file that an engine reads."""
    return InputError(
        f"{file}: no such file; {file.parent} is no folder that tools/export.py wrote for this engine and precision."
    )
