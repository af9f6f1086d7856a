"""The record of what a run came to: models side by side, task by task."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Callable, Optional

import numpy as np

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
