"""Frozen networks on inference engines: each is a function from a batch to named arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Callable, Optional

from ernie_tiny.engine_facts import BFLOAT16, FACTS, Form, is_installed
from ernie_tiny.engines.onnx_runtime import onnx_runtime
from ernie_tiny.engines.openvino import openvino
from ernie_tiny.engines.paddle_inference import paddle_inference
from ernie_tiny.engines.signature import Engine as Engine
from ernie_tiny.engines.signature import Signature as Signature
from ernie_tiny.errors import InputError
from ernie_tiny.runtime import processor

Loader = Callable[[Path, Signature, str, int], Engine]

LOADERS: Mapping[str, Loader] = MappingProxyType(
    {"paddle": paddle_inference, "onnx": onnx_runtime, "openvino": openvino}
)


def runnable(forms: Iterable[Form]) -> list[Form]:
    """Those of the forms whose engine is installed, and whose precision this processor multiplies."""
    bfloat16 = processor().bfloat16
    return [form for form in forms if is_installed(form[0]) and (bfloat16 or form[1] != BFLOAT16)]


def load(
    folder: Path,
    signature: Signature,
    name: str = "paddle",
    precision: str = "float32",
    threads: int = 1,
    gpu: Optional[int] = None,
) -> Engine:
    """The network of an exported folder, ready to run.

    Args:
        signature: The network's.
        name: Of ernie_tiny.engine_facts.
        precision: One that the engine has; "bfloat16" on a processor that multiplies it (runtime.processor).
        threads: CPU threads of the engine.
        gpu: Number of the GPU, or None for the CPU; Paddle's alone has one.
    Raises:
        InputError: the engine has no such precision or no GPU, or is not installed, or files are missing or damaged.
    """
    if precision not in FACTS[name].precisions:
        raise InputError(f"The engine {name} has no {precision}. It has {', '.join(FACTS[name].precisions)}.")
    if gpu is None:
        return LOADERS[name](folder, signature, precision, threads)
    if name != "paddle":
        raise InputError(
            f"The engine {name} computes on a CPU alone. Set runtime.teacher_engine to paddle or dygraph, or "
            "runtime.device to cpu."
        )
    return paddle_inference(folder, signature, precision, threads, gpu)
