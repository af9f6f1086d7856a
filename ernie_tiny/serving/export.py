"""A model of one task for inference engines, that has been compared with the model it comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import paddle

from ernie_tiny.batch import Array, Feature
from ernie_tiny.data.batching import collate
from ernie_tiny.data.task import TaskSpec
from ernie_tiny.data.tokenizer import Tokenizer
from ernie_tiny.engine_facts import BFLOAT16, INT8, Form
from ernie_tiny.engines.export import INPUTS, MODEL_PREFIX, export_network
from ernie_tiny.engines.onnx_file import quantize_onnx, write_onnx
from ernie_tiny.errors import InputError
from ernie_tiny.files import to_json
from ernie_tiny.kinds.ask import head_of
from ernie_tiny.models.forms import MASKED_LOGIT
from ernie_tiny.models.multitask import MultiTaskModel, SingleTaskModel
from ernie_tiny.runtime import processor
from ernie_tiny.serving.exported import PADDLE, TASK_FILE, load_form, read_spec

PARITY_BATCH = 8
BOUNDS: Mapping[str, float] = MappingProxyType({"bfloat16": 0.05, "int8": 0.25})  # of the largest logit


def export_model(
    model: MultiTaskModel,
    spec: TaskSpec,
    tokenizer: Tokenizer,
    max_length: int,
    folder: Path,
    forms: Sequence[Form] = (PADDLE,),
    calibration: Sequence[Feature] = (),
    int8: str = "dynamic",
) -> None:
    """Writes what a deployment needs: network, vocabulary, and task.json with labels, inputs, forms and files' sizes.

    The network is Paddle's PIR format, model.json and model.pdiparams, and where forms ask for it the files of
    ernie_tiny.engines.onnx_file. Its inputs are int64 [rows, length]: input_ids, token_type_ids and attention_mask (1
    for a token, 0 for padding).

    Args:
        calibration: Features whose activations' ranges fix the scales in INT8 where is_static says so.
        int8: "dynamic" or "static", of ONNX Runtime.
    Raises:
        InputError: a form needs a package that is not installed, or the network cannot be converted.
    """
    single = SingleTaskModel(model, spec.name)
    with single.without_what_is_not_read():
        export_network(single, folder)
    if any(engine != "paddle" for engine, _ in forms):
        write_onnx(folder)
    starts = range(0, len(calibration), PARITY_BATCH)
    batches = [collate(calibration[start : start + PARITY_BATCH], spec.name, tokenizer.pad_id) for start in starts]
    for engine in [engine for engine, precision in forms if precision == INT8]:
        quantize_onnx(folder, engine, batches if is_static(engine, int8) else ())
    tokenizer.save(folder)
    head, config = head_of(spec), model.encoder.config
    below = (config.vocab_size, max(2, config.type_vocab_size), 2)  # a model of one type ignores types, so both will do
    description: dict[str, Any] = {
        "task": {**dataclasses.asdict(spec), "max_length": max_length},
        "inputs": [
            {"name": name, "dtype": "int64", "shape": ["rows", "length"], "below": limit}
            for name, limit in zip(INPUTS, below)
        ],
        "output": {"name": "logits", "dtype": "float32", "form": head.form, "outputs": head.outputs},
        "engines": [{"engine": engine, "precision": precision} for engine, precision in forms],
        "bytes": {file.name: file.stat().st_size for file in sorted(folder.iterdir()) if file.name != TASK_FILE},
    }
    (folder / TASK_FILE).write_text(to_json(description, indent=1), encoding="utf-8")


def is_static(engine: str, int8: str) -> bool:
    """Whether an engine's INT8 has fixed scales for activations: OpenVINO multiplies in float32 where it has not.

    Args:
        int8: "dynamic" or "static", as export.int8.
    """
    return engine == "openvino" or int8 == "static"


def check_parity(
    folder: Path,
    model: MultiTaskModel,
    features: Sequence[Feature],
    pad_id: int,
    tolerance: float,
    forms: Sequence[Form] = (PADDLE,),
) -> dict[str, float]:
    """Largest absolute difference of the logits between dygraph and what was exported.

    Args:
        tolerance: The largest of float32; BOUNDS has those of other precisions.
    Returns:
        "static" for the static graph, "inference" for Paddle Inference in float32, and "engine, precision" for the
        other forms, whose differences are divided by the largest logit where the precision is below float32.
    Raises:
        InputError: one of them is above its bound; the export is not to be used.
    """
    spec_name = read_spec(folder).name
    single = SingleTaskModel(model, spec_name)
    single.eval()
    static = paddle.jit.load(str(folder / MODEL_PREFIX))
    static.eval()
    engines = {name_of(form): load_form(folder, form) for form in forms}
    differences = dict.fromkeys(("static", *engines), 0.0)
    largest = 0.0
    for start in range(0, len(features), PARITY_BATCH):
        batch = collate(features[start : start + PARITY_BATCH], spec_name, pad_id)
        tensors = [paddle.to_tensor(getattr(batch, name)) for name in INPUTS]
        with paddle.no_grad():
            expected = single(*tensors).numpy()
            found = {"static": static(*tensors).numpy()}
        found.update({name: engine(batch)["logits"] for name, engine in engines.items()})
        for name, logits in found.items():
            differences[name] = max(differences[name], _distance(expected, logits))
        largest = max(largest, float(np.abs(expected[expected > MASKED_LOGIT / 2]).max(initial=0)))
    bounds = {name_of(form): BOUNDS[form[1]] for form in forms if form[1] in BOUNDS}
    for name in differences:
        differences[name] /= largest if name in bounds else 1
        if not differences[name] <= bounds.get(name, tolerance):
            unit = " of the largest logit" if name in bounds else ""
            raise InputError(
                f"{folder}: the exported model's logits ({name}) differ by {differences[name]:.2e}{unit} from those of "
                f"the trained model on {len(features)} inputs; at most {bounds.get(name, tolerance):.0e} is allowed. "
                "Do not deploy it."
            )
    return differences


def require_bfloat16(forms: Sequence[Form]) -> None:
    """Raises an InputError where a form in bfloat16 cannot be compared, as this processor does not multiply it."""
    here = processor()
    if any(precision == BFLOAT16 for _, precision in forms) and not here.bfloat16:
        raise InputError(
            f"export.precisions: this processor, {here.name}, has no instructions for bfloat16, so what is exported "
            "cannot be compared. Export where there are some, or take bfloat16 out."
        )


def name_of(form: Form) -> str:
    """How a form is called among differences."""
    return "inference" if form == PADDLE else ", ".join(form)


def _distance(expected: Array, found: Array) -> float:
    """Largest absolute difference; infinite where a shape differs or a number is not finite."""
    if expected.shape != found.shape or not (np.isfinite(expected).all() and np.isfinite(found).all()):
        return float("inf")
    return float(np.abs(expected - found).max())
