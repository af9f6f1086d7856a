"""Scores, sizes and speeds as tables, a run's results for a terminal, and what there is to say of them in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Optional

from ernie_tiny.report.results import ModelResult, Results, fold_draws, mean
from ernie_tiny.report.runs import Entry, metrics_of, models_of
from ernie_tiny.report.tables import Table, terminal_text
from ernie_tiny.report.wording import LABELS, aligned, css_class, label, number, with_deviation

COMPARED = (
    ("quality kept, %", "quality_kept", ".2f"),
    ("gain by distillation", "gain", "+.2f"),
    ("agreement with teacher, %", "agreement", ".2f"),
)


def text_table(results: Results) -> str:
    """The results for a terminal: who scores what at which cost, the verdict, and how it was measured."""
    entries = [Entry("", (), fold_draws(results))]
    tables = (scores_table(entries), costs_table(entries))
    notes = [*notes_of(entries[0].results), *export_notes(results)]
    return terminal_text([results.name, "", *tables, verdict(results), *notes])


def markdown_tables(results: Results) -> str:
    """The tables of `text_table` in Markdown."""
    entries = [Entry("", (), fold_draws(results))]
    return f"{scores_table(entries).markdown()}\n\n{costs_table(entries).markdown()}"


def verdict(results: Results) -> str:
    """One sentence: quality kept, speed, size, and the gain over the same student without distillation."""
    student, teacher = results.model("student"), results.model("teacher")
    if student is None:
        return "No student was compared."
    sentence = f"The student scores {number(student.average)} % on average"
    kept, gain = (values.get("average", math.nan) for values in (results.quality_kept, results.gain))
    if teacher is not None and math.isfinite(kept):
        sentence = f"The student {'keeps' if kept <= 100 else 'reaches'} {number(kept)} % of its teacher's average"
        ratio, costs = speed_ratio(results, student), []
        if ratio:
            costs.append(f"{number(ratio)} times the speed")
        if student.megabytes and teacher.megabytes:
            costs.append(f"{number(100 * student.megabytes / teacher.megabytes, '.0f')} % of the size")
        sentence += f" at {' and '.join(costs)}" if costs else ""
    if math.isfinite(gain):
        against = f"{gain:+.1f} points over" if gain >= 0 else f"{-gain:.1f} points below"
        sentence += f"; {against} the same student without distillation"
    return sentence + "."


def scores_table(entries: Sequence[Entry]) -> Table:
    """A row for each model of each entry, the most frequent label first, then a row for each comparison."""
    columns = metrics_of(entries)

    def row(entry: Entry, name: str, values: Mapping[str, float], over: Mapping[str, float], spec: str) -> list[str]:
        own = [task if entry.results.metrics.get(task) == metric else "" for task, metric in columns]
        values = {"average": mean(values), **values}
        cells = (with_deviation(values.get(task), over.get(task), spec) for task in (*own, "average"))
        return [entry.marked(name), *cells]

    models = [row(entry, label(model.role), model.main, model.deviation, ".2f") for entry, model in models_of(entries)]
    comparisons = [
        row(entry, name, getattr(entry.results, key), entry.results.deviation.get(key, {}), spec)
        for entry in entries
        for name, key, spec in COMPARED
        if getattr(entry.results, key)
    ]
    header = ["model", *(f"{task}\n{metric}" for task, metric in columns), "average"]
    return Table(header, [[*_majority(entries, columns), *models], comparisons] if models else [], classes_of(entries))


def classes_of(entries: Sequence[Entry]) -> dict[str, str]:
    """The class of each model's row, by its name."""
    return {entry.marked(label(model.role)): css_class(model.role) for entry, model in models_of(entries)}


def _majority(entries: Sequence[Entry], columns: Sequence[tuple[str, str]]) -> list[list[str]]:
    """The row of the most frequent label: it depends on the data alone, so that the first entry that has it counts."""
    found = {
        (task, metric): entry.results.majority[task]
        for entry in reversed(entries)
        for task, metric in entry.results.metrics.items()
        if task in entry.results.majority
    }
    alike = all(entry.results.metrics == dict(columns) for entry in entries if entry.results.models)
    whole = alike and all(pair in found for pair in columns)  # models have an average over all tasks
    average = mean({task: value for (task, _), value in found.items()}) if whole else math.nan
    cells = [*(number(found.get(pair), ".2f") for pair in columns), number(average, ".2f")]
    return [[LABELS["majority"], *cells]] if found else []


def costs_table(entries: Sequence[Entry]) -> Table:
    """A row for each model of each entry: its size and its speed; a column that no model fills is left out."""
    models = models_of(entries)
    ratios = [speed_ratio(entry.results, model) for entry, model in models]
    weights = [(model.parameters / 1e6, model.embedding_parameters / 1e6) for _, model in models]
    speeds = [model.speed for _, model in models]
    columns = {
        "model": [entry.marked(label(model.role)) for entry, model in models],
        "parameters\nM": aligned([whole for whole, _ in weights]),
        "M without\nembeddings": aligned([whole - embeddings for whole, embeddings in weights]),
        "on disk\nMB": aligned([model.megabytes for _, model in models]),
        "latency\np50, ms": aligned([speed and speed.p50 for speed in speeds]),
        "latency\np95, ms": aligned([speed and speed.p95 for speed in speeds]),
        "speed vs\nteacher": [number(ratio) + "x" * bool(ratio) for ratio in ratios],
        "throughput\ninputs/s": [number(speed and speed.throughput, ",.0f") for speed in speeds],
    }
    return Table.of([dict(zip(columns, cells)) for cells in zip(*columns.values())], classes=classes_of(entries))


def types_table(entries: Sequence[Entry]) -> Table:
    """Of each model and task that finds entities a group: a row a type, then one of all types with what is broken."""

    def percent(*values: Optional[float]) -> dict[str, str]:
        return dict(zip(("precision", "recall", "F1"), (number(value, ".2f") for value in values)))

    groups = []
    for entry, model in models_of(entries):
        for task, found in model.types.items():
            name = {"model": entry.marked(label(model.role)), "task": task}
            rows = [
                {
                    **name,
                    "type": line.type,
                    **percent(line.precision, line.recall, line.f1),
                    "support": f"{line.entities:,}",
                }
                for line in found.types
            ]
            scores = model.scores.get(task, {})
            over_all = percent(*(scores.get(metric) for metric in ("precision", "recall", "f1")))
            support = sum(line.entities for line in found.types)
            rows.append(
                {**name, "type": "all", **over_all, "support": f"{support:,}", "broken": number(found.broken, ",.4g")}
            )
            groups.append(rows)
    return Table.of(*groups)


def speed_ratio(results: Results, model: Optional[ModelResult]) -> Optional[float]:
    """How many times as fast as its teacher a model answers; None where one of them was not timed."""
    speeds = [one.speed for one in (results.model("teacher"), model) if one is not None and one.speed is not None]
    return speeds[0].p50 / speeds[1].p50 if len(speeds) == 2 else None


def notes_of(results: Results) -> list[str]:
    """How the numbers of the tables came to be."""
    counts = ", ".join(f"{task} {count:,}" for task, count in results.examples.items())
    weights = ", ".join(f"{model.reference} ({label(model.role)})" for model in results.models)
    speed = next((model.speed for model in results.models if model.speed is not None), None)
    notes = [f"Scores in percent on dev, examples: {counts or 'none'}."]
    notes += [f"Weights: {weights}. Parameters are the encoder's, without task heads."] if weights else []
    if results.draws:
        over = "" if results.deviation else " ± standard deviation"
        tasks = ", ".join(f"{task} {number}" for task, number in results.draws.items())
        notes.append(f"Mean{over} over draws of the training data: {tasks}. An average counts them as one task.")
    if speed is not None:
        how = f"random inputs of {speed.length} tokens, CPU threads: {speed.threads}"
        more = f"latency with one input, throughput with batches of {speed.batch_size}"
        notes.append(f"Speed: network only, {how}; {more}.")
    return notes


def export_notes(results: Results) -> list[str]:
    return [
        f"Export of {task}: {item['folder']}, logits differ by {item['inference']:.1e} "
        f"(static graph {item['static']:.1e})."
        for task, item in results.exports.items()
    ]
