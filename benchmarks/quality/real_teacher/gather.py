"""What the study came to so far, from the folders of its runs: scores, costs, and intervals of the claimed gains."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np

from benchmarks.quality.real_teacher.arms import ARMS, GROUPS, ORDERS, Arm
from benchmarks.quality.real_teacher.claims import tasks_of
from benchmarks.quality.real_teacher.intervals import interval, packed
from benchmarks.quality.real_teacher.parts import FEW_FOLDER, FEW_SPLIT, HUGGING_FACE, IN_DOMAIN, NANO
from ernie_tiny.config import load_config
from ernie_tiny.config.schema import RunConfig, split_reference
from ernie_tiny.data.task import Example, Prediction, TaskSpec
from ernie_tiny.evaluation.metrics import scorer
from ernie_tiny.kinds.read import read_split
from ernie_tiny.report.results import ModelResult, Results
from ernie_tiny.runs.run_folders import EVALUATION_FILE, PREDICTIONS_FOLDER, read_results
from ernie_tiny.runtime import processor
from ernie_tiny.training.tasks import task_specs


def gather(output: Path, data: Path, others: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """All numbers of the study that are there, in the folder and in the studies of other machines.

    Returns:
        "arms": letter to {"what", "seeds": {seed: {"scores": by task, "hours", "parameters", "layers", "megabytes",
        "latency", "processor", "right": by task which examples are, packed}}}; "majority", "examples": by task;
        "intervals": "one > other, group" to the ends of the gain's interval;
        "exports": what the shown student was exported as; "int8": its scores in INT8 by task.
    """
    study: dict[str, Any] = {"arms": {}, "majority": {}, "examples": {}}
    labelled = Labelled(data)
    for letter, arm in ARMS.items():
        seeds = {
            seed: found for seed in arm.seeds if (found := _arm_of(output, arm, seed, study, labelled)) is not None
        }
        study["arms"][letter] = {"what": arm.what, "seeds": seeds}
    study["exports"] = list(_exports(output / NANO))
    study["int8"] = _int8(output / NANO)
    for earlier in others:
        study = joined(earlier, study)
    gains = {
        f"{above} > {below}, {group}": interval(study, above, below, tasks_of(study, group))
        for above, below, group in ORDERS
    }
    return {**study, "intervals": {order: ends for order, ends in gains.items() if ends is not None}}


def joined(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of two machines; what both have is the later one's, task by task."""
    arms = {
        letter: {**arm, "seeds": _joined_seeds(earlier["arms"].get(letter, {"seeds": {}})["seeds"], arm["seeds"])}
        for letter, arm in later["arms"].items()
    }
    either = {key: later[key] or earlier[key] for key in ("exports", "int8")}
    both = {key: {**earlier[key], **later[key]} for key in ("majority", "examples")}
    return {**later, **either, **both, "arms": arms}


def _joined_seeds(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    seeds = {**earlier, **later}
    for seed in set(earlier) & set(later):
        by_task = {key: {**earlier[seed][key], **later[seed][key]} for key in ("scores", "right")}
        seeds[seed] = {**later[seed], **by_task}
    return dict(sorted(seeds.items()))


class Labelled:
    """The dev sets that arms are scored on; each is read once."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._read: dict[tuple[str, str], tuple[Example, ...]] = {}

    def right(self, spec: TaskSpec, split: str, predictions: Path) -> str:
        """Which answers of a file of predictions are right, packed; only for tasks that are judged by accuracy."""
        if spec.metric != "accuracy":
            raise ValueError(f"{spec.name} is judged by {spec.metric}, not by accuracy.")
        key = (spec.name, split)
        if key not in self._read:
            self._read[key] = read_split(spec, self._data, split).examples
        records = map(json.loads, predictions.read_text(encoding="utf-8").splitlines())
        answers = [Prediction(record["id"], record["answer"]) for record in records]
        scores_of = scorer(spec, self._read[key], answers)
        return packed(np.array([scores_of(np.array([place]))["accuracy"] > 0 for place in range(len(answers))]))


def _arm_of(output: Path, arm: Arm, seed: str, study: dict[str, Any], labelled: Labelled) -> Optional[dict[str, Any]]:
    """An arm's scores and costs with one seed; None where its run is not finished."""
    folder = output / arm.run.format(seed=seed)
    results = read_results(folder)
    if results is None:
        return None
    model = next(model for model in results.models if model.reference == arm.reference)
    study["majority"].update(results.majority)
    study["examples"].update(results.examples)
    specs = task_specs(load_config(folder / "config.yaml"))
    scores = dict(model.main)
    judged = {task for group in GROUPS.values() for task in group}
    files = folder / PREDICTIONS_FOLDER / model.role
    right = {task: labelled.right(specs[task], "dev", files / f"{task}.jsonl") for task in scores if task in judged}
    for record in _few(folder):
        if record["model"] == arm.reference:
            scores[record["task"]] = record["scores"]["accuracy"]
            study["majority"][record["task"]] = 100 * max(map(sum, record["confusion"]["counts"])) / record["examples"]
            study["examples"][record["task"]] = record["examples"]
            file = folder / FEW_FOLDER / arm.reference / f"{record['task']}.jsonl"
            right[record["task"]] = labelled.right(specs[record["task"]], FEW_SPLIT, file)
    return {"scores": scores, "right": right, "hours": _hours(folder, results, arm.reference), **_size(model)}


def _size(model: ModelResult) -> dict[str, Any]:
    here = processor()  # a study is gathered where its runs were
    return {
        "processor": f"{here.name}, {'with' if here.bfloat16 else 'without'} bfloat16",
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
    if (folder / HUGGING_FACE / "config.json").is_file():
        yield "Hugging Face"
