"""A Paddle Inference model of one task, that has been compared with the model it comes from."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from ernie_tiny.batch import Feature
from ernie_tiny.data.batching import collate
from ernie_tiny.data.task import TaskSpec
from ernie_tiny.data.tokenizer import Tokenizer
from ernie_tiny.engines import load
from ernie_tiny.engines.export import INPUTS, MODEL_PREFIX, export_network
from ernie_tiny.errors import InputError
from ernie_tiny.files import to_json
from ernie_tiny.kinds.ask import head_of
from ernie_tiny.models.multitask import MultiTaskModel, SingleTaskModel
from ernie_tiny.serving.predictor import LOGITS, TASK_FILE

PARITY_BATCH = 8


def export_model(model: MultiTaskModel, spec: TaskSpec, tokenizer: Tokenizer, max_length: int, folder: Path) -> None:
    """Writes what a deployment needs: network, vocabulary, and task.json with labels and input signature.

    The network is Paddle's PIR format, model.json and model.pdiparams. Its inputs are int64 [rows, length]:
    input_ids, token_type_ids and attention_mask (1 for a token, 0 for padding).
    """
    export_network(SingleTaskModel(model, spec.name), folder)
    tokenizer.save(folder)
    head = head_of(spec)
    description: dict[str, Any] = {
        "task": {**dataclasses.asdict(spec), "max_length": max_length},
        "inputs": [{"name": name, "dtype": "int64", "shape": ["rows", "length"]} for name in INPUTS],
        "output": {"name": "logits", "dtype": "float32", "form": head.form, "outputs": head.outputs},
    }
    (folder / TASK_FILE).write_text(to_json(description, indent=1), encoding="utf-8")


def parity(folder: Path, model: MultiTaskModel, features: Sequence[Feature], pad_id: int) -> dict[str, float]:
    """Largest absolute difference of the logits between dygraph and the static graph, and Paddle Inference."""
    spec_name = json.loads((folder / TASK_FILE).read_text(encoding="utf-8"))["task"]["name"]
    single = SingleTaskModel(model, spec_name)
    single.eval()
    static = paddle.jit.load(str(folder / MODEL_PREFIX))
    static.eval()
    engine = load(folder, LOGITS)
    differences = {"static": 0.0, "inference": 0.0}
    for start in range(0, len(features), PARITY_BATCH):
        batch = collate(features[start : start + PARITY_BATCH], spec_name, pad_id)
        tensors = [paddle.to_tensor(getattr(batch, name)) for name in INPUTS]
        with paddle.no_grad():
            expected = single(*tensors).numpy()
            differences["static"] = max(differences["static"], _distance(expected, static(*tensors).numpy()))
        differences["inference"] = max(differences["inference"], _distance(expected, engine(batch)["logits"]))
    return differences


def check_parity(
    folder: Path, model: MultiTaskModel, features: Sequence[Feature], pad_id: int, tolerance: float
) -> dict[str, float]:
    """The differences that `parity` measures.

    Raises:
        InputError: one of them is above the tolerance; the export is not to be used.
    """
    differences = parity(folder, model, features, pad_id)
    for form, difference in differences.items():
        if not difference <= tolerance:
            raise InputError(
                f"{folder}: the exported model's logits ({form}) differ by {difference:.2e} from those of the "
                f"trained model on {len(features)} inputs; at most {tolerance:.0e} is allowed. Do not deploy it."
            )
    return differences


def _distance(expected: np.ndarray, found: np.ndarray) -> float:
    """Largest absolute difference; infinite where a shape differs or a number is not finite."""
    if expected.shape != found.shape or not (np.isfinite(expected).all() and np.isfinite(found).all()):
        return float("inf")
    return float(np.abs(expected - found).max())
