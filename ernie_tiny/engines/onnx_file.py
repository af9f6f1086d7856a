"""ONNX files of exported networks, in float32 and in INT8, by paddle2onnx and ONNX Runtime's tools."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from ernie_tiny.engine_facts import needed
from ernie_tiny.engines.export import MODEL_PREFIX
from ernie_tiny.errors import InputError

OPSET = 17
ERRORS = 3  # severity of ONNX Runtime's log; its warnings tell of what its optimiser removes
FILES: Mapping[str, str] = MappingProxyType(  # precision to the file that has it; bfloat16 is rounded to as it is read
    {"float32": f"{MODEL_PREFIX}.onnx", "bfloat16": f"{MODEL_PREFIX}.onnx", "int8": f"{MODEL_PREFIX}.int8.onnx"}
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
    options.optimized_model_filepath = str(folder / FILES["float32"])
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


def quantize_onnx(folder: Path) -> None:
    """Writes the INT8 file beside the float32 one: weights by channel, activations with scales found call by call."""
    quantization = needed("onnxruntime.quantization")
    quantization.quantize_dynamic(
        str(folder / FILES["float32"]), str(folder / FILES["int8"]), op_types_to_quantize=list(QUANTIZED),
        per_channel=True, weight_type=quantization.QuantType.QInt8,
    )  # fmt: skip


def quantized_nodes(file: Path) -> dict[str, tuple[int, int]]:
    """Of products and table look-ups, how many run in INT8 and how many there are, read from the graph."""
    graph = needed("onnx").load(str(file)).graph
    tables = {item.name: item.data_type for item in graph.initializer}
    kinds = Counter(node.op_type for node in graph.node)
    bytes_ = (needed("onnx").TensorProto.INT8, needed("onnx").TensorProto.UINT8)
    small = sum(node.op_type == "Gather" and tables.get(node.input[0]) in bytes_ for node in graph.node)
    lookups = sum(node.op_type == "Gather" and node.input[0] in tables for node in graph.node)
    products = kinds["MatMulInteger"]
    return {"products": (products, products + kinds["MatMul"] + kinds["Gemm"]), "embeddings": (small, lookups)}


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
