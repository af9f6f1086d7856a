"""Plots of what models score over what they cost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Callable, Optional

from ernie_tiny.report.charts import LEGEND, PUBLISHED, ModelPoint, css_class, label, number, point_chart
from ernie_tiny.report.published import MARK, published_models, published_tasks
from ernie_tiny.report.results import mean
from ernie_tiny.report.runs import Entry, common_tasks, spread

LATENCY, PARAMETERS = "latency p50, ms", "parameters, M"
FEW = 3  # tasks that are named
Cost = Callable[[Mapping[str, Any]], Optional[float]]


def quality_charts(entries: Sequence[Entry]) -> Iterable[str]:
    """The average score over latency and over parameters, on the tasks of all entries.

    Where there is no such task, for each set of tasks, of the entries that have all of it.
    """
    scored = [entry for entry in entries if entry.results["models"]]
    common = tuple(common_tasks(scored))
    for tasks in [common] if common else dict.fromkeys(tuple(entry.results["metrics"]) for entry in scored):
        group = [entry for entry in scored if set(tasks) <= set(entry.results["metrics"])]
        for title, cost in ((LATENCY, _latency), (PARAMETERS, _millions)):
            points = list(_points(group, tasks, title, cost))
            if points:
                yield _chart(tasks, title, points, len(entries) > 1)


def published_charts(entries: Sequence[Entry]) -> Iterable[str]:
    """The average over the published tasks over parameters, of the models that have all of them and published ones."""
    tasks = published_tasks(entries)
    points = list(_points(entries, tasks, PARAMETERS, _millions))
    if points:
        yield _chart(tasks, PARAMETERS, [*points, *_published_points(tasks)], legend=True)


def _chart(tasks: Sequence[str], title: str, points: Sequence[ModelPoint], legend: bool) -> str:
    named = ", ".join(tasks) if len(tasks) <= FEW else f"{len(tasks)} tasks"
    shapes = [css for css in LEGEND if any(point.css == css for point in points)]
    return point_chart(f"score over {title}; % on average of {named}", title, points, shapes if legend else [])


def _latency(model: Mapping[str, Any]) -> Optional[float]:
    return model["speed"]["p50"] if model["speed"] else None


def _millions(model: Mapping[str, Any]) -> float:
    return model["parameters"] / 1e6


def _points(entries: Sequence[Entry], tasks: Sequence[str], title: str, cost: Cost) -> Iterable[ModelPoint]:
    for entry in entries:
        whole = set(tasks) == set(entry.results["metrics"])
        for model in entry.results["models"]:
            x, main = cost(model), model["main"]
            average = model["average"] if whole else mean({task: main.get(task, math.nan) for task in tasks})
            if x is not None and math.isfinite(average):
                named = entry.marked(label(model["role"]))
                spoken = f"{named}: {number(average)} % at {x:.2f} ({title})"
                ends = spread(model, "average") if whole else None
                yield ModelPoint(x, average, css_class(model["role"]), entry.mark or named, spoken, ends)


def _published_points(tasks: Sequence[str]) -> Iterable[ModelPoint]:
    """ERNIE 3.0 Tiny v2."""
    for each in published_models():
        name, _, version = each.name.partition("-")
        if version == "v2":
            x, average = each.parameters / 1e6, each.average(tasks)
            yield ModelPoint(x, average, PUBLISHED, name, f"{each.name}: {average:.1f} % at {x:.1f} M ({MARK})")
