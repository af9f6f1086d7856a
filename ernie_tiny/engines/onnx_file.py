"""ONNX files of exported networks, in float32 and in INT8, by paddle2onnx and ONNX Runtime's tools."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Optional

import numpy as np

from ernie_tiny.batch import Array, Batch
from ernie_tiny.engine_facts import BFLOAT16, FLOAT32, INT8, Form, needed
from ernie_tiny.engines.export import MODEL_PREFIX
from ernie_tiny.errors import InputError

OPSET = 17
ERRORS = 3  # severity of ONNX Runtime's log; its warnings tell of what its optimiser removes
FLOAT_FILE = f"{MODEL_PREFIX}.onnx"
FILES: Mapping[Form, str] = MappingProxyType(  # what each form is read from; to bfloat16 it is rounded as it is read
    {
        ("onnx", FLOAT32): FLOAT_FILE,
        ("onnx", INT8): f"{MODEL_PREFIX}.int8.onnx",
        ("openvino", FLOAT32): FLOAT_FILE,
        ("openvino", BFLOAT16): FLOAT_FILE,
        ("openvino", INT8): f"{MODEL_PREFIX}.openvino.int8.onnx",
    }
)
QUANTIZED = ("MatMul", "Gemm", "Gather")  # products with weights, and the tables of embeddings


def write_onnx(folder: Path) -> None:
    """Converts the network of a folder that export_network wrote; its inputs stay of any number of rows and tokens.

    Raises:
        InputError: paddle2onnx cannot convert it.
    """
    runtime, paddle2onnx = needed("onnxruntime"), needed("paddle2onnx")
    network, weights = folder / f"{MODEL_PREFIX}.json", folder / f"{MODEL_PREFIX}.pdiparams"
    # What holds for every input is computed here: paddle2onnx multiplies the table of embeddings to blank padding.
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC  # ONNX's own operators alone
    options.optimized_model_filepath = str(folder / FLOAT_FILE)
    options.log_severity_level = ERRORS
    try:
        with _stdout_to_stderr():
            # Its own tools for optimising install packages; "None" is none of them.
            content = paddle2onnx.export(str(network), str(weights), opset_version=OPSET, optimize_tool="None")
        runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the libraries raise classes of their own, or what their C++ does
        raise InputError(
            f"{folder}: paddle2onnx cannot convert {network.name} ({error}). Export for Paddle alone."
        ) from error


def quantize_onnx(folder: Path, engine: str, calibration: Sequence[Batch] = ()) -> None:
    """Writes an engine's INT8 file beside the float32 one: weights by channel, activations scaled in each call.

    Args:
        engine: OpenVINO multiplies in float32 where scales are found call by call, so it needs `calibration`.
        calibration: Inputs whose activations' ranges fix the scales instead (static quantisation).
    """
    quantization = needed("onnxruntime.quantization")
    source, target = folder / FLOAT_FILE, folder / FILES[engine, INT8]
    given = {"op_types_to_quantize": list(QUANTIZED), "per_channel": True, "weight_type": quantization.QuantType.QInt8}
    if not calibration:
        quantization.quantize_dynamic(str(source), str(target), **given)
        return
    graph = needed("onnx").load(str(source)).graph
    tables = {item.name for item in graph.initializer}
    weightless = [node.name for node in graph.node if node.op_type == "MatMul" and node.input[1] not in tables]
    quantization.quantize_static(
        str(source), str(target), _Calibration(calibration, [item.name for item in graph.input]),
        nodes_to_exclude=weightless, activation_type=quantization.QuantType.QUInt8, **given,
    )  # fmt: skip


class _Calibration:
    """What quantize_static reads: inputs one after another, then None."""

    def __init__(self, batches: Sequence[Batch], names: Sequence[str]) -> None:
        self._left, self._names = iter(batches), names

    def get_next(self) -> Optional[dict[str, Array]]:
        batch = next(self._left, None)
        return None if batch is None else {name: getattr(batch, name).astype(np.int64) for name in self._names}


def quantized_nodes(file: Path) -> dict[str, tuple[int, int]]:
    """Of products and table look-ups, how many run in INT8 and how many there are, read from the graph."""
    graph = needed("onnx").load(str(file)).graph
    kinds = {item.name: item.data_type for item in graph.initializer}
    bytes_ = (needed("onnx").TensorProto.INT8, needed("onnx").TensorProto.UINT8)
    for node in graph.node:  # in static quantisation weights and tables are read through one of these
        if node.op_type == "DequantizeLinear" and node.input[0] in kinds:
            kinds[node.output[0]] = kinds[node.input[0]]
    products = [node for node in graph.node if node.op_type in ("MatMulInteger", "MatMul", "Gemm")]
    lookups = [node for node in graph.node if node.op_type == "Gather" and node.input[0] in kinds]
    return {
        "products": (sum(kinds.get(node.input[1]) in bytes_ for node in products), len(products)),
        "embeddings": (sum(kinds[node.input[0]] in bytes_ for node in lookups), len(lookups)),
    }


@contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """What C++ prints in this block goes to where logs go."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
