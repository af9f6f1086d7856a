"""What the study came to so far, from the folders of its runs: scores, costs, and intervals of the claimed gains."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

from benchmarks.quality.real_teacher.arms import ARMS, GROUPS, ORDERS, Arm
from benchmarks.quality.real_teacher.intervals import Intervals
from benchmarks.quality.real_teacher.parts import FEW_FOLDER, IN_DOMAIN, NANO
from ernie_tiny.config import load_config
from ernie_tiny.config.schema import RunConfig, split_reference
from ernie_tiny.report.results import ModelResult, Results
from ernie_tiny.runs.run_folders import EVALUATION_FILE, read_results


def gather(output: Path, data: Path) -> dict[str, Any]:
    """All numbers of the study that are there.

    Returns:
        "arms": letter to {"what", "seeds": {seed: {"scores": by task, "hours", "parameters", "layers", "megabytes",
        "latency"}}}; "majority", "examples": by task; "intervals": "one > other, group" to the ends of the gain's
        interval; "groups": group to its tasks; "exports": what the shown student was exported as; "int8": its
        scores in INT8 by task.
    """
    intervals = Intervals(output, data)
    study: dict[str, Any] = {"arms": {}, "majority": {}, "examples": {}, "groups": GROUPS, "intervals": {}}
    for letter, arm in ARMS.items():
        seeds = {seed: found for seed in arm.seeds if (found := _arm_of(output, arm, seed, study)) is not None}
        study["arms"][letter] = {"what": arm.what, "seeds": seeds}
    for above, below, group in ORDERS:
        ends = intervals.of(study, above, below, group)
        if ends is not None:
            study["intervals"][f"{above} > {below}, {group}"] = ends
    study["exports"] = list(_exports(output / NANO))
    study["int8"] = _int8(output / NANO)
    return study


def _arm_of(output: Path, arm: Arm, seed: str, study: dict[str, Any]) -> Optional[dict[str, Any]]:
    """An arm's scores and costs with one seed; None where its run is not finished."""
    folder = output / arm.run.format(seed=seed)
    results = read_results(folder)
    if results is None:
        return None
    model = next(model for model in results.models if model.reference == arm.reference)
    study["majority"].update(results.majority)
    study["examples"].update(results.examples)
    scores = dict(model.main)
    for record in _few(folder):
        if record["model"] == arm.reference:
            scores[record["task"]] = record["scores"]["accuracy"]
            study["majority"][record["task"]] = 100 * max(map(sum, record["confusion"]["counts"])) / record["examples"]
            study["examples"][record["task"]] = record["examples"]
    return {"scores": scores, "hours": _hours(folder, results, arm.reference), **_size(model)}


def _size(model: ModelResult) -> dict[str, Any]:
    return {
        "parameters": model.parameters,
        "layers": model.parameters - model.embedding_parameters,
        "megabytes": model.megabytes,
        "latency": model.speed and model.speed.p50,
    }


def _few(folder: Path) -> list[dict[str, Any]]:
    file = folder / FEW_FOLDER / EVALUATION_FILE
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []


def _hours(folder: Path, results: Results, reference: str) -> float:
    """Hours of the stages that made a model, from its random weights on, of the in-domain tasks."""
    run = load_config(folder / "config.yaml")
    stages = set(_chain(run, reference))
    return sum(
        stage.seconds for stage in results.stages if stage.stage in stages and stage.task in (None, *IN_DOMAIN)
    ) / 3600  # fmt: skip


def _chain(run: RunConfig, reference: str) -> Iterator[str]:
    """The stages that a model went through, the last first."""
    name = split_reference(reference)[1]
    while name is not None:
        yield name
        name = split_reference(run.stage(name).train)[1]


def _int8(folder: Path) -> dict[str, float]:
    results = read_results(folder)
    exports = results.exports if results is not None else {}
    return {task: min(export["int8_scores"].values()) for task, export in exports.items() if "int8_scores" in export}


def _exports(folder: Path) -> Iterator[str]:
    results = read_results(folder)
    if results is not None and results.exports:
        yield "Paddle Inference"
    if list(folder.glob("huggingface/*/config.json")):
        yield "Hugging Face"
