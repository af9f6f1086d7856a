"""The report of a run: its results as a table for a terminal, as Markdown, and as one HTML page."""

from __future__ import annotations

import html
import math
import textwrap
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any, Optional

from ernie_tiny.evaluation.charts import LABELS, figures, latency_chart, loss_charts, number, score_charts
from ernie_tiny.evaluation.results import mean

TERMINAL_WIDTH = 110  # columns that do not fit go below

Rows = list[list[str]]


def text_table(results: Mapping[str, Any]) -> str:
    """The results for a terminal: who scores what at which cost, the verdict, and how it was measured."""
    header, models, comparisons = _table(results)
    headings = [[cell.rpartition("\n")[part] for cell in header] for part in (0, 2)]
    widths = [max(map(_width, cells)) for cells in zip(*headings, *models, *comparisons)]
    lines = [results["name"], ""]
    for columns in _fold(widths, header.index("average") + 1):
        sizes = [widths[column] for column in columns]
        for rows in filter(None, _part((headings, models, comparisons), columns)):
            lines += [*(_text_row(row, sizes) for row in rows), "-" * (sum(sizes) + 2 * len(sizes) - 2)]
        lines[-1] = ""
    notes = [_verdict(results), *_notes(results), *_export_notes(results)]
    wrap = textwrap.TextWrapper(TERMINAL_WIDTH, break_long_words=False, break_on_hyphens=False)
    return "\n".join([*lines, *map(wrap.fill, notes)])


def markdown_table(results: Mapping[str, Any]) -> str:
    """The rows of `text_table` as a Markdown table."""
    header, models, comparisons = _table(results)
    rows = [header, ["---", *["---:"] * (len(header) - 1)], *models, *comparisons]
    cells = ([" ".join(cell.replace("|", "\\|").split()) for cell in row] for row in rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def html_page(results: Mapping[str, Any], events: Iterable[Mapping[str, Any]]) -> str:
    """One HTML page that needs no network and no script: verdict, table, scores, latency, losses, cost, exports.

    Args:
        results: The content of results.json.
        events: Those of events.jsonl, oldest first; a resumed run logs some steps twice, and the later one counts.
    """
    header, *groups = _table(results)
    classes, split = {label: role for role, label in LABELS.items()}, header.index("average") + 1
    scores, costs = (
        _html_table(name, [header[c] for c in columns], _part(groups, columns), classes)
        for name, columns in (("scores", range(split)), ("speed", (0, *range(split, len(header)))))
    )
    sections = (
        _section("scores", "Scores", scores),
        _section("speed", "Size and speed", "\n".join([costs, *latency_chart(results), _html_list(_notes(results))])),
        _section("tasks", "Scores by task", figures(score_charts(results))),
        _section("losses", "Losses while training", figures(loss_charts(events))),
        _section("cost", "Training cost", _cost_table(results["stages"])),
        _section("exports", "Exports", _html_list(_export_notes(results))),
    )
    template = Template(Path(__file__).with_name("report.html").read_text(encoding="utf-8"))
    title, verdict = html.escape(results["name"]), html.escape(_verdict(results))
    return template.substitute(title=title, verdict=verdict, sections="\n".join(filter(None, sections)))


def _verdict(results: Mapping[str, Any]) -> str:
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


def _table(results: Mapping[str, Any]) -> tuple[list[str], Rows, Rows]:
    """Header, models and comparisons, as text. The first column has the rows' names, a heading up to two lines."""
    tasks, models, majority = list(results["metrics"]), results["models"], results["majority"]
    costs = _cost_columns(models)

    def scores(values: Mapping[str, float], average: float, spec: str = ".2f") -> list[str]:
        return [number(value, spec) for value in (*map(values.get, tasks), average)]

    header = ["model", *(f"{task}\n{results['metrics'][task]}" for task in tasks), "average", *costs]
    blank = [""] * len(costs)
    rows = [[LABELS["majority"], *scores(majority, mean(majority)), *blank]] if majority else []
    for model, *cells in zip(models, *costs.values()):
        rows.append([LABELS[model["role"]], *scores(model["main"], model["average"]), *cells])
    agreement = results["agreement"] and {**results["agreement"], "average": mean(results["agreement"])}
    compared = (
        ("quality kept, %", results.get("quality_kept"), ".2f"),
        ("gain by distillation", results.get("gain"), "+.2f"),
        ("agreement with teacher, %", agreement, ".2f"),
    )
    comparisons = [
        [name, *scores(own, own.get("average", math.nan), spec), *blank] for name, own, spec in compared if own
    ]
    return header, rows, comparisons


def _cost_columns(models: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Heading to one cell for each model; a column that no model fills is left out."""
    speeds = [model["speed"] or {} for model in models]
    reference = [speed["p50"] for model, speed in zip(models, speeds) if model["role"] == "teacher" and speed]
    ratios = [reference[0] / speed["p50"] if reference and speed else None for speed in speeds]
    weights, embeddings = ([model[key] / 1e6 for model in models] for key in ("parameters", "embedding_parameters"))
    columns = {
        "parameters\nM": _column(weights),
        "M without\nembeddings": _column([whole - part for whole, part in zip(weights, embeddings)]),
        "on disk\nMB": _column([model["megabytes"] for model in models]),
        "latency\np50, ms": _column([speed.get("p50") for speed in speeds]),
        "latency\np95, ms": _column([speed.get("p95") for speed in speeds]),
        "speed vs\nteacher": [number(ratio) + "x" * bool(ratio) for ratio in ratios],
        "throughput\ninputs/s": [number(speed.get("throughput"), ",.0f") for speed in speeds],
    }
    return {heading: cells for heading, cells in columns.items() if any(cell != "-" for cell in cells)}


def _notes(results: Mapping[str, Any]) -> list[str]:
    """How the numbers of the tables came to be."""
    counts = ", ".join(f"{task} {count:,}" for task, count in results["examples"].items())
    weights = ", ".join(f"{model['reference']} ({LABELS[model['role']]})" for model in results["models"])
    speed = next((model["speed"] for model in results["models"] if model["speed"]), None)
    notes = [f"Scores in percent on dev, examples: {counts or 'none'}."]
    notes += [f"Weights: {weights}. Parameters are the encoder's, without task heads."] if weights else []
    if speed is not None:
        how = f"random inputs of {speed['length']} tokens, CPU threads: {speed['threads']}"
        more = f"latency with one input, throughput with batches of {speed['batch_size']}"
        notes.append(f"Speed: network only, {how}; {more}.")
    return notes


def _export_notes(results: Mapping[str, Any]) -> list[str]:
    return [
        f"Export of {task}: {item['folder']}, logits differ by {item['inference']:.1e} "
        f"(static graph {item['static']:.1e})."
        for task, item in results["exports"].items()
    ]


def _column(values: Sequence[Optional[float]]) -> list[str]:
    """Numbers with one decimal, or with two where the smallest is below ten."""
    smallest = min((value for value in values if value is not None), default=0)
    return [number(value, ",.1f" if smallest >= 10 else ",.2f") for value in values]


def _width(text: str) -> int:
    """Columns on a terminal: a CJK character takes two, a combining mark none."""
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def _part(groups: Iterable[Rows], columns: Sequence[int]) -> list[Rows]:
    """Some columns of the groups, without the rows that have nothing there but their name."""
    return [[[row[c] for c in columns] for row in group if any(row[c] for c in columns[1:])] for group in groups]


def _fold(widths: Sequence[int], split: int) -> list[list[int]]:
    """Columns of each block: a new one starts at the split and where a line would not fit the terminal."""
    blocks = [[0]]
    for column in range(1, len(widths)):
        used = sum(widths[other] + 2 for other in blocks[-1])
        if column == split or (used + widths[column] > TERMINAL_WIDTH and len(blocks[-1]) > 1):
            blocks.append([0])
        blocks[-1].append(column)
    return blocks


def _text_row(row: Sequence[str], sizes: Sequence[int]) -> str:
    name, *cells = (" " * (size - _width(cell)) + cell for size, cell in zip(sizes, row))
    return "  ".join([row[0].ljust(len(name)), *cells]).rstrip()


def _section(name: str, title: str, content: str) -> str:
    return f'<section id="{name}">\n<h2 id="{name}-title">{title}</h2>\n{content}\n</section>' if content else ""


def _html_list(notes: Sequence[str]) -> str:
    return f'\n<ul class="notes">{"".join(f"<li>{html.escape(note)}</li>" for note in notes)}</ul>' if notes else ""


def _html_table(section: str, header: Sequence[str], groups: Iterable[Rows], classes: Mapping[str, str]) -> str:
    """A table that its section's title names; `classes` gives rows a class by their name."""
    heads = (html.escape(cell).replace("\n", "<br>") for cell in header)
    named = f'aria-labelledby="{section}-title"'
    lines = [f'<div class="wide" role="region" tabindex="0" {named}><table {named}>', "<thead><tr>"]
    lines += [*(f'<th scope="col">{cell}</th>' for cell in heads), "</tr></thead>"]
    for group in filter(None, groups):
        lines.append("<tbody>")
        for name, *cells in group:
            css = f' class="{classes[name]}"' if name in classes else ""
            data = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
            lines.append(f'<tr{css}><th scope="row">{html.escape(name)}</th>{data}</tr>')
        lines.append("</tbody>")
    return "\n".join([*lines, "</table></div>"])


def _cost_table(stages: Sequence[Mapping[str, Any]]) -> str:
    header = ["stage", "trains", "objective", "steps", "tokens\nM", "minutes", "tokens/s", "best dev\n%"]
    totals, minutes = [stage["tokens"] / 1e6 for stage in stages], [stage["seconds"] / 60 for stage in stages]
    rows = []
    for stage, tokens, duration in zip(stages, _column(totals), _column(minutes)):
        name, terms = "/".join(filter(None, (stage["stage"], stage["task"]))), ", ".join(stage["objective"])
        speed = number(stage["tokens"] / stage["seconds"] if stage["seconds"] else None, ",.0f")
        cost = [f"{stage['steps']:,}", tokens, duration, speed]
        rows.append([name, stage["trained"], terms, *cost, number(stage["best_dev"], ".2f")])
    total = ["all stages", "", "", "", "", *_column([sum(minutes)]), "", ""]
    return _html_table("cost", header, [rows, [total]], {}) if stages else ""
