"""ONNX Runtime on the CPU, in float32 or in INT8."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ernie_tiny.batch import Array, Batch
from ernie_tiny.engine_facts import needed
from ernie_tiny.engines.export import missing_file
from ernie_tiny.engines.onnx_file import ERRORS, FILES
from ernie_tiny.engines.signature import Engine, Signature
from ernie_tiny.errors import InputError


def onnx_runtime(folder: Path, signature: Signature, precision: str, threads: int) -> Engine:
    """An engine (ernie_tiny.engines.load) of a network in ONNX's format."""
    runtime = needed("onnxruntime")
    file = folder / FILES["onnx", precision]
    if not file.is_file():
        raise missing_file(file)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = ERRORS
    try:
        session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # classes of its own
        raise InputError(f"{file}: is damaged ({error}). Copy the folder again, or export it anew.") from error
    taken = [item.name for item in session.get_inputs()]  # token types are left out where the network reads none

    def run(batch: Batch) -> dict[str, Array]:
        arrays = {name: np.ascontiguousarray(getattr(batch, name), np.int64) for name in taken}
        return dict(zip(signature.outputs, session.run(None, arrays)))

    return run
