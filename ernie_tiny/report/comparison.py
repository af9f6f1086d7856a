"""What stands side by side when runs are compared: what each came to, the published rows, the configs' differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ernie_tiny.report.charts import PUBLISHED
from ernie_tiny.report.published import beside_published, published_models
from ernie_tiny.report.results import StageResult, mean, mean_of
from ernie_tiny.report.runs import NAMES_OF_A_RUN, Entry, common_tasks, models_of
from ernie_tiny.report.summary import COMPARED, classes_of, speed_ratio
from ernie_tiny.report.tables import Table
from ernie_tiny.report.wording import aligned, label, number, with_deviation

ABSENT = object()  # a key that a config does not have
SHOWN_VALUE = 60  # characters of a value of a config


def runs_table(entries: Sequence[Entry]) -> Table:
    """A row for each entry: what its student keeps and gains, what it costs to run and what it took to train."""
    common = common_tasks(entries)
    partly = common and any(entry.results.models and list(entry.results.metrics) != common for entry in entries)
    return Table.of([_run_row(entry, common if partly else []) for entry in entries])


def _run_row(entry: Entry, common: Sequence[str]) -> dict[str, str]:
    """Heading to cell; of an unfinished run what it took so far."""
    results, student = entry.results, entry.results.model("student")
    ratio, speed = speed_ratio(results, student), student and student.speed
    row = {"run": entry.marked(entry.title), "tasks": str(len(results.metrics)) if results.models else "-"}
    row["student\n%"] = with_deviation(student and student.average, student and student.deviation.get("average"))
    if common:
        row[f"student on\n{len(common)} shared, %"] = number(student and mean_of(student.main, common), ".2f")
    for (_, key, spec), heading in zip(COMPARED, ("quality\nkept, %", "gain\npoints", "agree-\nment, %")):
        values: dict[str, float] = getattr(results, key)
        average = values.get("average", mean(values))
        row[heading] = with_deviation(average, results.deviation.get(key, {}).get("average"), spec)
    return row | {
        "parameters\nM": number(student and student.parameters / 1e6, ",.2f"),
        "on disk\nMB": number(student and student.megabytes),
        "latency\np50, ms": number(speed and speed.p50, ".2f"),
        "speed vs\nteacher": number(ratio) + "x" * bool(ratio),
        "training\nminutes": number(sum(stage.seconds for stage in results.stages) / 60),
        "tokens\nM": number(sum(stage.tokens for stage in results.stages) / 1e6, ",.2f"),
    }


def cost_table(entries: Sequence[Entry]) -> Table:
    """A row for each stage of each entry, the tasks of a stage that ran for several taken together."""
    stages: dict[tuple[str, str], list[StageResult]] = {}
    for entry in entries:
        for stage in entry.results.stages:
            stages.setdefault((entry.mark, stage.stage), []).append(stage)
    minutes = [sum(stage.seconds for stage in parts) / 60 for parts in stages.values()]
    rows = [
        {"stage": f"{mark} {_stage_title(name, parts)}".strip(), **_cost_cells(parts, duration)}
        for ((mark, name), parts), duration in zip(stages.items(), aligned(minutes))
    ]
    total = {"stage": "all stages", "minutes": aligned([sum(minutes)])[0]}
    return Table.of(rows, [total]) if rows else Table([], [])


def _stage_title(name: str, parts: Sequence[StageResult]) -> str:
    return "/".join(filter(None, (name, parts[0].task))) if len(parts) == 1 else f"{name}, {len(parts)} tasks"


def _cost_cells(parts: Sequence[StageResult], minutes: str) -> dict[str, str]:
    """Heading to cell, of all but the name."""
    tokens, seconds = sum(part.tokens for part in parts), sum(part.seconds for part in parts)
    flops = [part.flops for part in parts if part.flops is not None]
    scores = {str(index): part.best_dev for index, part in enumerate(parts) if part.best_dev is not None}
    return {
        "trains": parts[0].trained,
        "objective": ", ".join(dict.fromkeys(term for part in parts for term in part.objective)),
        "examples": _examples([counts for part in parts for counts in part.examples.values()]),
        "steps": f"{sum(part.steps for part in parts):,}",
        "tokens\nM": number(tokens / 1e6, ",.2f"),
        "minutes": minutes,
        "tokens/s": number(tokens / seconds if seconds else None, ",.0f"),
        "FLOPs": f"{sum(flops):.1e}" if len(flops) == len(parts) else "-",
        "best dev\n%": number(mean(scores), ".2f"),
    }


def _examples(counts: Sequence[Mapping[str, int]]) -> str:
    """Of all tasks together; those that are trained on without their labels apart."""
    labelled, unlabelled = (sum(each.get(split, 0) for each in counts) for split in ("train", "unlabelled"))
    shown = [f"{labelled:,}"] * bool(labelled) + [f"{unlabelled:,} unlabelled"] * bool(unlabelled)
    return " + ".join(shown) or "-"


def published_table(entries: Sequence[Entry]) -> Table:
    """Our models and the published ones on the tasks of both; no rows where there is no such task."""
    entries, tasks = beside_published(entries)

    def row(name: str, scores: Mapping[str, float]) -> list[str]:
        return [name, *(number(value, ".2f") for value in (*map(scores.get, tasks), mean_of(scores, tasks)))]

    models = [(entry, model) for entry, model in models_of(entries) if any(task in model.main for task in tasks)]
    ours = [row(entry.marked(label(model.role)), model.main) for entry, model in models]
    theirs = [row(f"{each.name} (published)", each.scores) for each in (published_models() if ours else ())]
    classes = {**classes_of(entries), **{cells[0]: PUBLISHED for cells in theirs}}
    return Table(["model", *tasks, "average"], [ours, theirs], classes)


def differences_table(entries: Sequence[Entry]) -> Table:
    """A row for each key, dotted, in which the configs of two entries differ; entries stand for their first run."""
    configs = {entry.mark: entry.runs[0].config for entry in entries if entry.runs[0].config}
    found = [(key, values) for key, values in _differences([*configs.values()], "") if key not in NAMES_OF_A_RUN]
    return Table(["key", *configs], [[[key, *map(_shown, values)] for key, values in found]])


def _differences(values: Sequence[Any], key: str) -> list[tuple[str, Sequence[Any]]]:
    """Keys with the values that differ; list elements that have a name go by it."""
    if all(value == values[0] for value in values[1:]):
        return []
    values = [_by_name(value) for value in values]
    if not all(isinstance(value, Mapping) for value in values):
        return [(key, values)]
    found = []
    for name in dict.fromkeys(name for value in values for name in value):
        found += _differences([value.get(name, ABSENT) for value in values], f"{key}.{name}" if key else str(name))
    return found


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
