"""The record of what a run came to, results.json: models side by side, task by task."""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Optional, TypeVar, final

import numpy as np
from pydantic import TypeAdapter

from ernie_tiny.evaluation.statistics import mean_and_deviation

COMPARISONS = ("quality_kept", "gain", "agreement")
DRAW = re.compile(r"(.+)-[0-9]+")  # a task of which there are several draws of training data, as FewCLUE has them
Percents = dict[str, float]  # by task, in percent
T = TypeVar("T")


@final  # so that a type checker knows: a value is true, and None is not
@dataclass
class Speed:
    """Milliseconds a call with one input (p50, p95), inputs a second in batches, and how they were measured."""

    p50: float
    p95: float
    throughput: float
    length: int
    batch_size: int
    threads: int


@dataclass
class TypeScore:
    """Precision, recall and F1 of one type of entity, in percent, and how many such entities the reference has."""

    type: str
    precision: float
    recall: float
    f1: float
    entities: int


@dataclass
class TypeScores:
    """One model's scores on a task by type, and its sequences of most probable tags that break their scheme."""

    types: list[TypeScore]
    broken: float  # of several runs their mean


@final
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
        types: Of tasks that find entities; results.json has it where there are such.
        megabytes: Size of the exported network, 10^6 bytes.
        deviation: Not stored: of several runs or draws that stand as one, standard deviations (n - 1), as in `main`.
    """

    role: str
    reference: str
    parameters: int
    embedding_parameters: int
    scores: dict[str, Percents] = field(default_factory=dict)
    main: Percents = field(default_factory=dict)
    intervals: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    types: dict[str, TypeScores] = field(default_factory=dict)
    megabytes: Optional[float] = None
    speed: Optional[Speed] = None
    deviation: Percents = field(default_factory=dict)

    @property
    def average(self) -> float:
        """Mean of the tasks' main metrics; the draws of a task count as one task."""
        return mean(self.main)

    def spread(self, task: str, metric: str = "") -> Optional[tuple[float, float]]:
        """Where an error bar begins and ends: a deviation over seeds or draws, else a bootstrap interval, or None."""
        if task in self.deviation:
            center = self.average if task == "average" else self.main[task]
            return center - self.deviation[task], center + self.deviation[task]
        return self.intervals.get(task, {}).get(metric)


@dataclass
class StageResult:
    """What a stage, or its part for one task, took: optimizer steps, real tokens, seconds, estimated FLOPs.

    `examples` is task to split ("train", "unlabelled") to how many were trained on; none of general text.
    """

    stage: str
    task: Optional[str]
    trained: str
    steps: int
    tokens: int
    seconds: float
    parameters: int
    best_dev: Optional[float]
    objective: dict[str, dict[str, Any]]
    flops: Optional[float] = None
    held_out: Optional[dict[str, float]] = None
    examples: dict[str, dict[str, int]] = field(default_factory=dict)


@dataclass
class Results:
    """What a run came to.

    Attributes:
        majority: Task to the score of always giving the most frequent label, where it has labels.
        metrics: Task to its main metric.
        examples: Task to the number of its dev examples.
        agreement: Task to the percent of examples to which student and teacher give the same answer.
        exports: Task to folder and largest differences of the logits.
        quality_kept: The student over the teacher in percent, by task and average; empty where there is no such pair.
        gain: The student less the same student without distillation in points, in the same way.
        deviation: Not stored: of these comparisons over several runs that stand as one, as a model has it.
        draws: Not stored: the number of draws of each task that stands for its draws.
    """

    name: str
    models: list[ModelResult]
    majority: Percents
    metrics: dict[str, str]
    examples: dict[str, int]
    agreement: Percents
    exports: dict[str, dict[str, Any]]
    stages: list[StageResult]
    quality_kept: Percents = field(default_factory=dict)
    gain: Percents = field(default_factory=dict)
    deviation: dict[str, Percents] = field(default_factory=dict)
    draws: dict[str, int] = field(default_factory=dict)

    def model(self, role: str) -> Optional[ModelResult]:
        return next((model for model in self.models if model.role == role), None)


def to_record(results: Results) -> dict[str, Any]:
    """The content of results.json: what was not compared is left out, and each model has its `average`."""
    record = {name: value for name, value in dataclasses.asdict(results).items() if name not in ("deviation", "draws")}
    for model, row in zip(results.models, record["models"]):
        del row["deviation"]
        if not model.types:
            del row["types"]
        row["average"] = model.average
    return {name: value for name, value in record.items() if value or name not in ("quality_kept", "gain")}


def from_record(record: Mapping[str, Any]) -> Results:
    """The results in the content of a results.json, an older one too; keys that are not known are passed over.

    Raises:
        pydantic.ValidationError: A key is missing or has a value of another type.
    """
    return TypeAdapter(Results).validate_python(record)


def to_stages(records: Sequence[Mapping[str, Any]]) -> list[StageResult]:
    """The stages in their records (result.json, stage_end events); what else stands there is passed over."""
    return TypeAdapter(list[StageResult]).validate_python(records)


def mean(scores: Mapping[str, float]) -> float:
    """The mean over tasks, of which one with several draws ("bustm-0", "bustm-1") counts as their mean."""
    return float(np.mean([np.mean(values) for values in by_drawn_task(scores).values()])) if scores else float("nan")


def mean_of(scores: Mapping[str, float], tasks: Sequence[str]) -> float:
    """The mean over these tasks alone; NaN where one of them has no score."""
    return mean({task: scores.get(task, math.nan) for task in tasks})


def by_drawn_task(scores: Mapping[str, T]) -> dict[str, list[T]]:
    """The scores of each task: those of its draws under one name (`name_of_draws`)."""
    found: dict[str, list[T]] = {}
    for task, value in scores.items():
        found.setdefault(name_of_draws(task, scores) or task, []).append(value)
    return found


def name_of_draws(task: str, tasks: Container[str]) -> Optional[str]:
    """The name for all draws of a draw's task: before the hyphen and the number, or another where that is a task."""
    drawn = DRAW.fullmatch(task)
    return drawn and (f"{drawn[1]} (draws)" if drawn[1] in tasks else drawn[1])


def compare(results: Results) -> Results:
    """The results with quality kept and gain, as far as there are models to compare."""
    student, teacher, baseline = map(results.model, ("student", "teacher", "baseline"))
    kept = {task: 100 * own / other for task, (own, other) in _pairs(student, teacher).items() if other}
    gain = {task: own - other for task, (own, other) in _pairs(student, baseline).items()}
    return replace(results, quality_kept=kept, gain=gain)


def _pairs(one: Optional[ModelResult], other: Optional[ModelResult]) -> dict[str, tuple[float, float]]:
    """The scores of two models on the tasks of both, and their averages."""
    if one is None or other is None:
        return {}
    shared = {task: (value, other.main[task]) for task, value in one.main.items() if task in other.main}
    return {**shared, "average": (one.average, other.average)}


def fold_draws(results: Results, beside: Collection[str] = ()) -> Results:
    """The results with one task in place of its draws, its main scores their means.

    Where there are such tasks, `draws` has their numbers of draws, and `deviation` of each model the standard
    deviations over them.

    Args:
        beside: Tasks of results that stand on the same page, whose names are taken.
    """
    taken = {*results.metrics, *beside}
    drawn = {task: name for task in results.metrics if (name := name_of_draws(task, taken))}
    numbers = {task: number for task, number in Counter(drawn.values()).items() if number > 1}
    if not numbers:
        return results

    def fold(values: Mapping[str, Any], merge: Callable[[list[Any]], Any] = np.mean) -> dict[str, Any]:
        grouped: dict[str, list[Any]] = {}
        for task, value in values.items():
            grouped.setdefault(drawn[task] if drawn.get(task) in numbers else task, []).append(value)
        return {task: merge(found) for task, found in grouped.items()}

    def fold_model(model: ModelResult) -> ModelResult:
        deviations = fold(model.main, lambda found: mean_and_deviation(found)[1])
        over = {task: deviations[task] for task in numbers if task in deviations}
        return replace(model, main=fold(model.main), deviation=over)

    means: dict[str, Any] = {key: fold(getattr(results, key)) for key in ("majority", *COMPARISONS)}
    firsts: dict[str, Any] = {
        key: fold(getattr(results, key), lambda found: found[0]) for key in ("metrics", "examples")
    }
    return replace(results, **means, **firsts, models=list(map(fold_model, results.models)), draws=numbers)
