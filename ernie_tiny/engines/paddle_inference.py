"""Paddle Inference, in float32 or, by oneDNN, in bfloat16."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import numpy as np
from paddle import inference
from paddle.base.core import set_num_threads

from ernie_tiny.batch import Array, Batch
from ernie_tiny.engines.buckets import in_buckets
from ernie_tiny.engines.export import INPUTS, MODEL_PREFIX, missing_file
from ernie_tiny.engines.signature import Engine, Signature
from ernie_tiny.errors import InputError, first_line


def paddle_inference(
    folder: Path, signature: Signature, precision: str, threads: int, gpu: Optional[int] = None
) -> Engine:
    """An engine (ernie_tiny.engines.load) of a network in Paddle's own format."""
    network, weights = folder / f"{MODEL_PREFIX}.json", folder / f"{MODEL_PREFIX}.pdiparams"
    for file in (network, weights):
        if not file.is_file():
            raise missing_file(file)
    config = inference.Config(str(network), str(weights))
    config.disable_glog_info()
    config.enable_new_executor()
    config.enable_new_ir()
    config.enable_memory_optim()
    on_onednn = gpu is None and config.mkldnn_enabled()
    if gpu is None:
        config.disable_gpu()
        config.set_cpu_math_library_num_threads(threads)
        if precision == "bfloat16":
            config.enable_mkldnn()
            config.enable_mkldnn_bfloat16()
        if on_onednn:
            # All shapes are kept and share the packed weights. By default ten are, each with weights of its own.
            config.set_mkldnn_cache_capacity(0)
    else:
        config.enable_use_gpu(256, gpu)
    try:
        predictor = inference.create_predictor(config)
    except (RuntimeError, ValueError, OSError) as error:
        raise InputError(
            f"{folder}: {network.name} or {weights.name} is cut off or damaged ({first_line(error)}). Copy the folder "
            "again, or export it anew with tools/export.py."
        ) from error
    inputs = {name: predictor.get_input_handle(name) for name in INPUTS}
    names, outputs = predictor.get_output_names(), signature.outputs
    if len(names) != len(outputs):
        raise ValueError(f"{network} gives {len(names)} arrays, {len(outputs)} are named: {', '.join(outputs)}")

    def run(batch: Batch) -> dict[str, Array]:
        for name, handle in inputs.items():
            handle.copy_from_cpu(np.ascontiguousarray(getattr(batch, name), dtype=np.int64))
        predictor.run()
        set_num_threads(threads)  # each run ends with one for the whole process, and so for a student's step beside it
        # Some outputs have no variable, and so no handle, before the first run.
        return {output: predictor.get_output_handle(name).copy_to_cpu() for output, name in zip(outputs, names)}

    return in_buckets(run, signature) if on_onednn else run
