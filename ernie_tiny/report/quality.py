"""Plots of what models score over what they cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Callable, Optional

from ernie_tiny.report.charts import LEGEND, PUBLISHED, Chart, ModelPoint, point_chart
from ernie_tiny.report.published import MARK, beside_published, published_models
from ernie_tiny.report.results import ModelResult, mean_of
from ernie_tiny.report.runs import Entry, common_tasks, models_of
from ernie_tiny.report.wording import css_class, label, number

FEW = 3  # tasks that are named
LATENCY, PARAMETERS = "latency p50, ms", "parameters, M"
COSTS: dict[str, Callable[[ModelResult], Optional[float]]] = {
    LATENCY: lambda model: model.speed and model.speed.p50,
    PARAMETERS: lambda model: model.parameters / 1e6,
}


def quality_charts(entries: Sequence[Entry]) -> Iterator[Chart]:
    """The average score over latency and over parameters, on the tasks of all entries.

    Where there is no such task, for each set of tasks, of the entries that have all of it.
    """
    scored = [entry for entry in entries if entry.results.models]
    common = tuple(common_tasks(scored))
    for tasks in [common] if common else dict.fromkeys(tuple(entry.results.metrics) for entry in scored):
        group = [entry for entry in scored if set(tasks) <= set(entry.results.metrics)]
        for title in COSTS:
            points = list(_points(group, tasks, title))
            if points:
                yield _chart(tasks, title, points, len(entries) > 1)


def published_charts(entries: Sequence[Entry]) -> Iterator[Chart]:
    """The average over the published tasks over parameters, of the models that have all of them and published ones."""
    entries, tasks = beside_published(entries)
    points = list(_points(entries, tasks, PARAMETERS))
    if points:
        yield _chart(tasks, PARAMETERS, [*points, *_published_points(tasks)], legend=True)


def _chart(tasks: Sequence[str], title: str, points: Sequence[ModelPoint], legend: bool) -> Chart:
    named = ", ".join(tasks) if len(tasks) <= FEW else f"{len(tasks)} tasks"
    shapes = [css for css in LEGEND if any(point.css == css for point in points)]
    return point_chart(f"score over {title}; % on average of {named}", title, points, shapes if legend else [])


def _points(entries: Sequence[Entry], tasks: Sequence[str], title: str) -> Iterator[ModelPoint]:
    for entry, model in models_of(entries):
        x, average = COSTS[title](model), mean_of(model.main, tasks)
        if x is not None and math.isfinite(average):
            named = entry.marked(label(model.role))
            spoken = f"{named}: {number(average)} % at {x:.2f} ({title})"
            ends = model.spread("average") if set(tasks) == set(entry.results.metrics) else None
            yield ModelPoint(x, average, css_class(model.role), entry.mark or named, spoken, ends)


def _published_points(tasks: Sequence[str]) -> Iterator[ModelPoint]:
    """ERNIE 3.0 Tiny v2."""
    for each in published_models():
        name, _, version = each.name.partition("-")
        if version == "v2":
            x, average = each.parameters / 1e6, mean_of(each.scores, tasks)
            yield ModelPoint(x, average, PUBLISHED, name, f"{each.name}: {average:.1f} % at {x:.1f} M ({MARK})")
