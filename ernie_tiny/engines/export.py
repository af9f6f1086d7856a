"""Networks as files that an inference engine reads."""

from __future__ import annotations

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
    static = paddle.jit.to_static(network, input_spec=signature, full_graph=True)
    paddle.jit.save(static, str(folder / MODEL_PREFIX))


def missing_file(file: Path) -> InputError:
    """What is said where a folder lacks the file that an engine reads."""
    return InputError(
        f"{file}: no such file; {file.parent} is no folder that tools/export.py wrote for this engine and precision."
    )
