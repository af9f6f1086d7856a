"""The record of what a run came to: models side by side, task by task."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Callable, Optional

import numpy as np

from ernie_tiny.evaluation.statistics import mean_and_deviation

COMPARISONS = ("quality_kept", "gain", "agreement")
DRAW = re.compile(r"(.+)-[0-9]+")  # a task of which there are several draws of training data, as FewCLUE has them


@dataclass
class ModelResult:
    """One model's row.

    Attributes:
        role: "teacher", "student", "baseline" (the same student without distillation), or the title of another one.
        reference: model@stage.
        parameters: Weights of the encoder, embeddings and pooler included, heads left out.
        embedding_parameters: Of these, weights of the embeddings.
        scores: Task to metric to percent, on dev.
        main: Task to its main metric, in percent.
        intervals: Task to metric to the ends of its bootstrap interval, in percent.
        megabytes: Size of the exported network, 10^6 bytes.
        speed: p50 and p95 in milliseconds, throughput in inputs a second, and how they were measured.
    """

    role: str
    reference: str
    parameters: int
    embedding_parameters: int
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    main: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    megabytes: Optional[float] = None
    speed: Optional[dict[str, float]] = None

    @property
    def average(self) -> float:
        """Mean of the tasks' main metrics; the draws of a task count as one task."""
        return mean(self.main)


def mean(scores: Mapping[str, float]) -> float:
    """The mean over tasks, of which one with several draws ("bustm-0", "bustm-1") counts as their mean."""
    return float(np.mean([np.mean(values) for values in by_drawn_task(scores).values()])) if scores else float("nan")


def by_drawn_task(scores: Mapping[str, float]) -> dict[str, list[float]]:
    """The scores of each task: those of its draws under the name before the hyphen and the number."""
    found: dict[str, list[float]] = {}
    for task, value in scores.items():
        drawn = DRAW.fullmatch(task)
        found.setdefault(drawn[1] if drawn else task, []).append(value)
    return found


def summarise(
    name: str,
    models: list[ModelResult],
    majority: Mapping[str, float],
    metrics: Mapping[str, str],
    examples: Mapping[str, int],
    agreement: Mapping[str, float],
    exports: Mapping[str, dict[str, Any]],
    stages: list[dict[str, Any]],
) -> dict[str, Any]:
    """The content of results.json.

    Keys beside the arguments: each model has its `average`; `quality_kept` is the student over the teacher in
    percent, `gain` the student less the same student without distillation in points, each by task and average.
    """
    by_role = {model.role: model for model in models}
    results: dict[str, Any] = {
        "name": name,
        "models": [{**asdict(model), "average": model.average} for model in models],
        "majority": dict(majority),
        "metrics": dict(metrics),
        "examples": dict(examples),
        "agreement": dict(agreement),
        "exports": dict(exports),
        "stages": stages,
    }
    student = by_role.get("student")
    if student is not None and "teacher" in by_role:
        results["quality_kept"] = _by_task(
            student, by_role["teacher"], lambda own, other: 100 * own / other, ratio=True
        )
    if student is not None and "baseline" in by_role:
        results["gain"] = _by_task(student, by_role["baseline"], lambda own, other: own - other)
    return results


def _by_task(
    one: ModelResult, other: ModelResult, compare: Callable[[float, float], float], ratio: bool = False
) -> dict[str, float]:
    """One against another by task and average; a ratio to nothing is left out."""
    pairs = {task: (value, other.main[task]) for task, value in one.main.items() if task in other.main}
    pairs["average"] = (one.average, other.average)
    return {name: compare(*pair) for name, pair in pairs.items() if pair[1] or not ratio}


def fold_draws(results: Mapping[str, Any]) -> Mapping[str, Any]:
    """The results with one task in place of its draws, its scores their means.

    Where there are such tasks, `draws` has their numbers of draws, and `deviation` of each model the standard
    deviations over them.
    """
    draws = {task: drawn[1] for task in results["metrics"] if (drawn := DRAW.fullmatch(task))}
    numbers = {task: number for task, number in Counter(draws.values()).items() if number > 1}
    draws = {task: name for task, name in draws.items() if name in numbers}
    if not draws:
        return results

    def fold(values: Mapping[str, Any], merge: Callable[[list[Any]], Any]) -> dict[str, Any]:
        grouped: dict[str, list[Any]] = {}
        for task, value in values.items():
            grouped.setdefault(draws.get(task, task), []).append(value)
        return {task: merge(found) for task, found in grouped.items()}

    def fold_model(model: Mapping[str, Any]) -> dict[str, Any]:
        deviations = fold(model["main"], lambda found: mean_and_deviation(found)[1])
        return {
            **model,
            "main": fold(model["main"], np.mean),
            "scores": fold(model["scores"], _mean_of_each),
            "intervals": {task: ends for task, ends in model["intervals"].items() if task not in draws},
            "deviation": {task: deviations[task] for task in numbers if task in deviations},
        }

    means = {key: fold(results[key], np.mean) for key in ("majority", *COMPARISONS) if key in results}
    firsts = {key: fold(results[key], lambda found: found[0]) for key in ("metrics", "examples")}
    models = [fold_model(model) for model in results["models"]]
    return {**results, **means, **firsts, "models": models, "draws": numbers}


def _mean_of_each(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {metric: float(np.mean([each[metric] for each in scores])) for metric in scores[0]}
