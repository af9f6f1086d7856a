"""What stands side by side when runs are compared: what each came to, the published rows, the configs' differences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ernie_tiny.report.charts import PUBLISHED, css_class, label, number
from ernie_tiny.report.published import published_models, published_tasks
from ernie_tiny.report.results import mean
from ernie_tiny.report.runs import NAMES_OF_A_RUN, Entry, common_tasks
from ernie_tiny.report.summary import COMPARED, aligned, speed_ratio, with_deviation
from ernie_tiny.report.tables import Rows

ABSENT = object()  # a key that a config does not have
SHOWN_VALUE = 60  # characters of a value of a config


@dataclass(frozen=True)
class Table:
    """Rows below a header, in groups; `classes` gives rows a class by their name."""

    header: list[str]
    groups: list[Rows]
    classes: Mapping[str, str]

    def __bool__(self) -> bool:
        return any(self.groups)


def runs_table(entries: Sequence[Entry]) -> Table:
    """A row for each entry: what its student keeps and gains, what it costs to run and what it took to train."""
    common = common_tasks(entries)
    partly = common and any(entry.results["models"] and list(entry.results["metrics"]) != common for entry in entries)
    rows = [_run_row(entry, common if partly else []) for entry in entries]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    used = [column for column in columns if any(row.get(column, "-") != "-" for row in rows)]
    return Table(
        ["run", *used],
        [
            [
                [entry.marked(entry.title), *(row.get(column, "-") for column in used)]
                for entry, row in zip(entries, rows)
            ]
        ],
        {},
    )


def _run_row(entry: Entry, common: Sequence[str]) -> dict[str, str]:
    """Heading to cell; of an unfinished run what it took so far."""
    results, deviation = entry.results, entry.results.get("deviation", {})
    models = {model["role"]: model for model in results["models"]}
    student: Mapping[str, Any] = models.get("student", {})
    speed, ratio = student.get("speed") or {}, speed_ratio(results, student)
    row = {
        "tasks": str(len(results["metrics"])) if models else "-",
        "student\n%": with_deviation(student.get("average"), student.get("deviation", {}).get("average")),
    }
    if common:
        row[f"student on\n{len(common)} shared, %"] = number(_average(student, common), ".2f")
    for (_, key, spec), heading in zip(COMPARED, ("quality\nkept, %", "gain\npoints", "agree-\nment, %")):
        values = results.get(key) or {}
        average = values.get("average", mean(values))
        row[heading] = with_deviation(average, deviation.get(key, {}).get("average"), spec)
    parameters = student.get("parameters")
    return row | {
        "parameters\nM": number(parameters and parameters / 1e6, ",.2f"),
        "on disk\nMB": number(student.get("megabytes"), ",.1f"),
        "latency\np50, ms": number(speed.get("p50"), ".2f"),
        "speed vs\nteacher": number(ratio) + "x" * bool(ratio),
        "training\nminutes": number(sum(stage["seconds"] for stage in results["stages"]) / 60),
        "tokens\nM": number(sum(stage["tokens"] for stage in results["stages"]) / 1e6, ",.2f"),
    }


def _average(model: Mapping[str, Any], tasks: Sequence[str]) -> float:
    """Of these tasks alone; NaN for a model that has not all of them."""
    main = model.get("main", {})
    return mean({task: main[task] for task in tasks}) if tasks and all(task in main for task in tasks) else math.nan


def cost_table(entries: Sequence[Entry]) -> Table:
    """A row for each stage of each entry, the tasks of a stage that ran for several taken together."""
    stages: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for entry in entries:
        for stage in entry.results["stages"]:
            stages.setdefault((entry.mark, stage["stage"]), []).append(stage)
    minutes = [sum(stage["seconds"] for stage in parts) / 60 for parts in stages.values()]
    rows = [
        {"stage": f"{mark} {_stage_title(name, parts)}".strip(), **_cost_cells(parts), "minutes": duration}
        for ((mark, name), parts), duration in zip(stages.items(), aligned(minutes))
    ]
    total = {"stage": "all stages", "minutes": aligned([sum(minutes)])[0]}
    columns = ("stage", "trains", "objective", "steps", "tokens\nM", "minutes", "tokens/s", "FLOPs", "best dev\n%")
    used = [column for column in columns if any(row[column] != "-" for row in rows)]
    groups = [[[row.get(column, "") for column in used] for row in group] for group in (rows, [total])]
    return Table(used, groups if rows else [], {})


def _stage_title(name: str, parts: Sequence[Mapping[str, Any]]) -> str:
    return "/".join(filter(None, (name, parts[0]["task"]))) if len(parts) == 1 else f"{name}, {len(parts)} tasks"


def _cost_cells(parts: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Heading to cell, of all but names and minutes."""
    tokens, seconds, steps = (sum(each[key] for each in parts) for key in ("tokens", "seconds", "steps"))
    flops = [each["flops"] for each in parts if each.get("flops") is not None]
    scores = {str(index): each["best_dev"] for index, each in enumerate(parts) if each["best_dev"] is not None}
    return {
        "trains": parts[0]["trained"],
        "objective": ", ".join(dict.fromkeys(term for each in parts for term in each["objective"])),
        "steps": f"{steps:,}",
        "tokens\nM": number(tokens / 1e6, ",.2f"),
        "tokens/s": number(tokens / seconds if seconds else None, ",.0f"),
        "FLOPs": f"{sum(flops):.1e}" if len(flops) == len(parts) else "-",
        "best dev\n%": number(mean(scores), ".2f"),
    }


def published_table(entries: Sequence[Entry]) -> Table:
    """Our models and the published ones on the tasks of both; no rows where there is no such task."""
    tasks, classes = published_tasks(entries), {}
    ours: Rows = []
    for entry in entries if tasks else ():
        for model in entry.results["models"]:
            if any(task in model["main"] for task in tasks):
                name = entry.marked(label(model["role"]))
                classes[name] = css_class(model["role"])
                ours.append(
                    [
                        name,
                        *(number(model["main"].get(task), ".2f") for task in tasks),
                        number(_average(model, tasks), ".2f"),
                    ]
                )
    theirs = [
        [f"{each.name} (published)", *(number(each.scores[task], ".2f") for task in tasks),
         number(each.average(tasks), ".2f")]
        for each in published_models()
    ]  # fmt: skip
    classes.update({row[0]: PUBLISHED for row in theirs})
    return Table(["model", *tasks, "average"], [ours, theirs] if ours else [], classes)


def differences_table(entries: Sequence[Entry]) -> Table:
    """A row for each key, dotted, in which the configs of two entries differ; entries stand for their first run."""
    configs = [(entry.mark, entry.runs[0].config) for entry in entries if entry.runs[0].config]
    found = [
        (key, values)
        for key, values in _differences([config for _, config in configs], "")
        if key not in NAMES_OF_A_RUN
    ]
    rows = [[key, *map(_shown, values)] for key, values in found]
    return Table(["key", *(mark for mark, _ in configs)], [rows] if rows else [], {})


def _differences(values: Sequence[Any], key: str) -> list[tuple[str, Sequence[Any]]]:
    """Keys with the values that differ; list elements that have a name go by it."""
    if all(value == values[0] for value in values[1:]):
        return []
    values = [_by_name(value) for value in values]
    if not all(isinstance(value, Mapping) for value in values):
        return [(key, values)]
    names = dict.fromkeys(name for value in values for name in value)
    return [found for name in names for found in _differences(
        [value.get(name, ABSENT) for value in values], f"{key}.{name}" if key else str(name)
    )]  # fmt: skip


def _by_name(value: Any) -> Any:
    if isinstance(value, list) and value and all(isinstance(item, Mapping) and "name" in item for item in value):
        return {item["name"]: item for item in value}
    return value


def _shown(value: Any) -> str:
    if value is ABSENT:
        return "-"
    if isinstance(value, Mapping):
        value = ", ".join(f"{key} {_shown(item)}" for key, item in value.items() if item not in ("", [], {}, None))
    elif isinstance(value, list):
        value = ", ".join(map(_shown, value)) or "none"
    text = str(value)
    return text if len(text) <= SHOWN_VALUE else f"{text[: SHOWN_VALUE - 1]}…"
