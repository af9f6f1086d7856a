"""The gate of exports in INT8: what they lose on the task's dev split, and what of the network ran in INT8."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ernie_tiny.engine_facts import INT8, Form
from ernie_tiny.engines.onnx_file import FILES, quantized_nodes
from ernie_tiny.engines.openvino import openvino_nodes
from ernie_tiny.errors import InputError
from ernie_tiny.serving.accuracy import loss_of, require_at_most
from ernie_tiny.serving.predictor import Predictor
from ernie_tiny.training.workspace import Workspace


def check_int8(workspace: Workspace, task: str, folder: Path, forms: Sequence[Form]) -> dict[str, Any]:
    """Scores an export in INT8 and in float32 on dev; nothing for an export without INT8.

    Returns:
        "int8": in words what ran in INT8, and what it loses; "int8_scores": engine to the score in INT8, in percent.

    Raises:
        InputError: more than export.max_loss points are lost, or no product ran in INT8.
    """
    run = workspace.run
    said: list[str] = []
    scores: dict[str, float] = {}
    for engine in [engine for engine, precision in forms if precision == INT8]:
        said.append(f"{engine}: {ran_in_int8(folder, engine)}")
        examples = workspace.examples(task, "dev", run.report.examples)
        before, after = (
            Predictor(folder, engine=engine, precision=precision).predict(examples, run.report.batch_tokens)
            for precision in ("float32", INT8)
        )
        loss = loss_of(workspace.task(task), examples, before, after)
        said.append(f"{engine} in INT8: {loss}")
        scores[engine] = loss.after
        require_at_most(loss, run.export.max_loss, f"{task}, {engine} in INT8")
    return {"int8": said, "int8_scores": scores} if said else {}


def ran_in_int8(folder: Path, engine: str) -> str:
    """In words, how many products and embeddings run in INT8, of how many.

    Read from the file, whose operators name their precision, or of OpenVINO, which chooses it, from what it compiled.

    Raises:
        InputError: no product does.
    """
    nodes = openvino_nodes(folder, INT8) if engine == "openvino" else quantized_nodes(folder / FILES[engine, INT8])
    words = ", ".join(f"{small} of {all_of_them} {part} in INT8" for part, (small, all_of_them) in nodes.items())
    if not next(iter(nodes.values()))[0]:
        raise InputError(
            f"export.precisions: {engine} multiplies nothing of this network in INT8 here ({words}), so nothing was "
            f"written. Take int8 out, or {engine} out of export.engines."
        )
    return words
