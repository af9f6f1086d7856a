"""Frozen networks on inference engines: each is a function from a batch to named arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Callable, Optional

import numpy as np

from ernie_tiny.batch import Batch
from ernie_tiny.engines.paddle_inference import paddle_inference

Engine = Callable[[Batch], dict[str, np.ndarray]]


def load(
    folder: Path,
    outputs: Sequence[str],
    name: str = "paddle",
    precision: str = "float32",
    threads: int = 1,
    gpu: Optional[int] = None,
) -> Engine:
    """The network of a folder that export_network wrote, ready to run.

    Args:
        outputs: Names for the network's outputs, in their order.
        name: The engine: "paddle".
        precision: "float32", or "bfloat16" on a processor that multiplies it (processor_has_bfloat16).
        threads: CPU threads of the mathematics library.
        gpu: Number of the GPU, or None for the CPU.
    Raises:
        InputError: files are missing or damaged.
    """
    return {"paddle": paddle_inference}[name](folder, outputs, precision, threads, gpu)
