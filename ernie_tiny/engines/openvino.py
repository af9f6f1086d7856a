"""OpenVINO on the CPU, from the ONNX file, in float32, bfloat16 or INT8."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ernie_tiny.batch import Array, Batch
from ernie_tiny.engine_facts import needed
from ernie_tiny.engines.export import missing_file
from ernie_tiny.engines.onnx_file import FILES
from ernie_tiny.engines.signature import Engine, Signature
from ernie_tiny.errors import InputError

HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}  # of INT8: of what the file leaves in float32
BYTES = ("i8", "u8")


@lru_cache(maxsize=1)
def _core() -> Any:
    """The one of this process, never freed.

    Each Core gives the thread a stack for signals and takes it away again when it is freed; of two that live at a time
    the first one's is left in place when both are gone, and the next signal finds no memory there (OpenVINO 2026.4).
    """
    return needed("openvino").Core()


def openvino(folder: Path, signature: Signature, precision: str, threads: int) -> Engine:
    """An engine (ernie_tiny.engines.load) of a network in ONNX's format."""
    compiled = _compiled(folder, precision, threads)
    taken = [item.get_any_name() for item in compiled.inputs]
    request = compiled.create_infer_request()

    def run(batch: Batch) -> dict[str, Array]:
        arrays = {name: np.ascontiguousarray(getattr(batch, name), np.int64) for name in taken}
        found = request.infer(arrays)
        return {name: np.array(found[place]) for place, name in enumerate(signature.outputs)}

    return run


def _compiled(folder: Path, precision: str, threads: int) -> Any:
    core = _core()
    file = folder / FILES["openvino", precision]
    if not file.is_file():
        raise missing_file(file)
    settings = {
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
    }
    try:
        return core.compile_model(str(file), "CPU", settings)
    except RuntimeError as error:
        raise InputError(f"{file}: is damaged ({error}). Copy the folder again, or export it anew.") from error


def openvino_nodes(folder: Path, precision: str) -> dict[str, tuple[int, int]]:
    """Of products with weights and table look-ups, how many run in INT8 and how many there are.

    Read from the graph that OpenVINO made for this processor; what it multiplies in INT8 has INT8 on both sides.
    """
    products, lookups = [], []
    for node in _compiled(folder, precision, 1).get_runtime_model().get_ops():
        kind = node.get_rt_info()["layerType"].value
        types = [entry.get_element_type().to_string() for entry in node.inputs()]
        if kind == "FullyConnected":
            products.append(types[0] in BYTES and types[1] in BYTES)
        elif kind == "Gather" and types[0] in (*BYTES, "f32", "bf16"):  # the others look up shapes and positions
            lookups.append(types[0] in BYTES)
    return {"products with weights": (sum(products), len(products)), "embeddings": (sum(lookups), len(lookups))}
