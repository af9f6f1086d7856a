"""The results of runs as a table for a terminal and for Markdown, and what there is to say of them in words."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

from ernie_tiny.report.charts import LABELS, label, number
from ernie_tiny.report.results import fold_draws, mean
from ernie_tiny.report.runs import Entry, metrics_of
from ernie_tiny.report.tables import TERMINAL_WIDTH, Rows, fold, markdown_lines, text_row, width

COMPARED = (
    ("quality kept, %", "quality_kept", ".2f"),
    ("gain by distillation", "gain", "+.2f"),
    ("agreement with teacher, %", "agreement", ".2f"),
)


def text_table(results: Mapping[str, Any]) -> str:
    """The results for a terminal: who scores what at which cost, the verdict, and how it was measured."""
    results = fold_draws(results)
    header, models, comparisons = results_table([Entry("", (), results)])
    headings = [[cell.rpartition("\n")[part] for cell in header] for part in (0, 2)]
    widths = [max(map(width, cells)) for cells in zip(*headings, *models, *comparisons)]
    lines = [results["name"], ""]
    for columns in fold(widths, header.index("average") + 1):
        sizes = [widths[column] for column in columns]
        for rows in filter(None, part((headings, models, comparisons), columns)):
            lines += [*(text_row(row, sizes) for row in rows), "-" * (sum(sizes) + 2 * len(sizes) - 2)]
        lines[-1] = ""
    notes = [verdict(results), *notes_of(results), *export_notes(results)]
    wrap = textwrap.TextWrapper(TERMINAL_WIDTH, break_long_words=False, break_on_hyphens=False)
    return "\n".join([*lines, *map(wrap.fill, notes)])


def markdown_table(results: Mapping[str, Any]) -> str:
    """The rows of `text_table` as a Markdown table."""
    header, models, comparisons = results_table([Entry("", (), fold_draws(results))])
    return "\n".join(markdown_lines(header, [*models, *comparisons]))


def verdict(results: Mapping[str, Any]) -> str:
    """One sentence: quality kept, speed, size, and the gain over the same student without distillation."""
    models = {model["role"]: model for model in results["models"]}
    student, teacher = models.get("student"), models.get("teacher")
    if student is None:
        return "No student was compared."
    sentence = f"The student scores {number(student['average'])} % on average"
    kept, gain = (results.get(key, {}).get("average", math.nan) for key in ("quality_kept", "gain"))
    if teacher is not None and math.isfinite(kept):
        sentence = f"The student {'keeps' if kept <= 100 else 'reaches'} {number(kept)} % of its teacher's average"
        costs = []
        if student["speed"] and teacher["speed"]:
            costs.append(f"{number(teacher['speed']['p50'] / student['speed']['p50'])} times the speed")
        if student["megabytes"] and teacher["megabytes"]:
            costs.append(f"{number(100 * student['megabytes'] / teacher['megabytes'], '.0f')} % of the size")
        sentence += f" at {' and '.join(costs)}" if costs else ""
    if math.isfinite(gain):
        against = f"{gain:+.1f} points over" if gain >= 0 else f"{-gain:.1f} points below"
        sentence += f"; {against} the same student without distillation"
    return sentence + "."


def results_table(entries: Sequence[Entry]) -> tuple[list[str], Rows, Rows]:
    """Header, models and comparisons, as text. The first column has the rows' names, a heading up to two lines."""
    columns, costs = metrics_of(entries), _cost_columns(entries)
    blank = [""] * len(costs)
    majority = _majority(entries, columns)
    rows = [[LABELS["majority"], *majority, *blank]] if majority else []
    comparisons = []
    models = [(entry, model) for entry in entries for model in entry.results["models"]]
    for (entry, model), *costs_of_model in zip(models, *costs.values()):
        values, deviation = {**model["main"], "average": model["average"]}, model.get("deviation", {})
        cells = [*_cells(entry, columns, values, deviation, ".2f"), *costs_of_model]
        rows.append([entry.marked(label(model["role"])), *cells])
    for entry in entries:
        for name, key, spec in COMPARED:
            compared = entry.results.get(key)
            if compared:
                deviation = entry.results.get("deviation", {}).get(key, {})
                comparisons.append([entry.marked(name), *_cells(entry, columns, compared, deviation, spec), *blank])
    header = ["model", *(f"{task}\n{metric}" for task, metric in columns), "average", *costs]
    return header, rows, comparisons


def _cells(
    entry: Entry,
    columns: Sequence[tuple[str, str]],
    values: Mapping[str, float],
    deviation: Mapping[str, float],
    spec: str,
) -> list[str]:
    """Of an entry's values by task, those of its tasks with these metrics, and their average."""
    own = [task if entry.results["metrics"].get(task) == metric else "" for task, metric in columns]
    average = values.get("average", mean(values))
    return [
        *(with_deviation(values.get(task), deviation.get(task), spec) for task in own),
        with_deviation(average, deviation.get("average"), spec),
    ]


def with_deviation(value: Optional[float], deviation: Optional[float], spec: str = ".2f") -> str:
    """A number, with the standard deviation over seeds where there is one."""
    text = number(value, spec)
    known = deviation is not None and math.isfinite(deviation)
    return f"{text} ± {number(deviation, spec.lstrip('+'))}" if known else text


def _majority(entries: Sequence[Entry], columns: Sequence[tuple[str, str]]) -> list[str]:
    """Cells of the most frequent label: it depends on the data alone, so that the first entry that has it counts."""
    found = {
        (task, metric): entry.results["majority"][task]
        for entry in reversed(entries)
        for task, metric in entry.results["metrics"].items()
        if task in entry.results["majority"]
    }
    if not found:
        return []
    alike = all(entry.results["metrics"] == dict(columns) for entry in entries if entry.results["models"])
    average = mean({task: value for (task, _), value in found.items()}) if alike else math.nan
    return [*(number(found.get(pair), ".2f") for pair in columns), number(average, ".2f")]


def _cost_columns(entries: Sequence[Entry]) -> dict[str, list[str]]:
    """Heading to one cell for each model of each entry; a column that no model fills is left out."""
    models = [model for entry in entries for model in entry.results["models"]]
    speeds = [model["speed"] or {} for model in models]
    ratios = [speed_ratio(entry.results, model) for entry in entries for model in entry.results["models"]]
    weights, embeddings = ([model[key] / 1e6 for model in models] for key in ("parameters", "embedding_parameters"))
    columns = {
        "parameters\nM": aligned(weights),
        "M without\nembeddings": aligned([whole - part for whole, part in zip(weights, embeddings)]),
        "on disk\nMB": aligned([model["megabytes"] for model in models]),
        "latency\np50, ms": aligned([speed.get("p50") for speed in speeds]),
        "latency\np95, ms": aligned([speed.get("p95") for speed in speeds]),
        "speed vs\nteacher": [number(ratio) + "x" * bool(ratio) for ratio in ratios],
        "throughput\ninputs/s": [number(speed.get("throughput"), ",.0f") for speed in speeds],
    }
    return {heading: cells for heading, cells in columns.items() if any(cell != "-" for cell in cells)}


def speed_ratio(results: Mapping[str, Any], model: Mapping[str, Any]) -> Optional[float]:
    """How many times as fast as its teacher a model answers; None where one of them was not timed."""
    teacher = next((other["speed"] for other in results["models"] if other["role"] == "teacher"), None)
    return teacher["p50"] / model["speed"]["p50"] if teacher and model.get("speed") else None


def notes_of(results: Mapping[str, Any]) -> list[str]:
    """How the numbers of the tables came to be."""
    counts = ", ".join(f"{task} {count:,}" for task, count in results["examples"].items())
    weights = ", ".join(f"{model['reference']} ({label(model['role'])})" for model in results["models"])
    speed = next((model["speed"] for model in results["models"] if model["speed"]), None)
    notes = [f"Scores in percent on dev, examples: {counts or 'none'}."]
    notes += [f"Weights: {weights}. Parameters are the encoder's, without task heads."] if weights else []
    if "draws" in results:
        over = "" if "deviation" in results else " ± standard deviation"
        tasks = ", ".join(f"{task} {number}" for task, number in results["draws"].items())
        notes.append(f"Mean{over} over draws of the training data: {tasks}. An average counts them as one task.")
    if speed is not None:
        how = f"random inputs of {speed['length']} tokens, CPU threads: {speed['threads']}"
        more = f"latency with one input, throughput with batches of {speed['batch_size']}"
        notes.append(f"Speed: network only, {how}; {more}.")
    return notes


def export_notes(results: Mapping[str, Any]) -> list[str]:
    return [
        f"Export of {task}: {item['folder']}, logits differ by {item['inference']:.1e} "
        f"(static graph {item['static']:.1e})."
        for task, item in results["exports"].items()
    ]


def aligned(values: Sequence[Optional[float]]) -> list[str]:
    """Numbers with one decimal, or with two where the smallest is below ten."""
    smallest = min((value for value in values if value is not None), default=0)
    return [number(value, ",.1f" if smallest >= 10 else ",.2f") for value in values]


def part(groups: Iterable[Rows], columns: Sequence[int]) -> list[Rows]:
    """Some columns of the groups, without the rows that have nothing there but their name."""
    return [[[row[c] for c in columns] for row in group if any(row[c] for c in columns[1:])] for group in groups]
