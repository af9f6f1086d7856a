"""The report of a run: its results as a table for a terminal, as Markdown, and as one HTML page."""

from __future__ import annotations

import html
import math
import textwrap
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any, Optional

from ernie_tiny.evaluation.results import mean

LABELS = {
    "majority": "most frequent label",
    "teacher": "teacher",
    "student": "student",
    "baseline": "student, no distillation",
}
CHART_LABELS = {**LABELS, "baseline": "no distillation"}
TERMINAL_WIDTH = 110  # columns that do not fit go below
CHART_WIDTH, PLOT_END = 340, 316  # units of an SVG, about a pixel each
CURVE_POINTS, CURVE_STYLES = 400, 7  # the template defines the styles c0, c1, ...

Rows = list[list[str]]
Point = tuple[int, float]


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
        _section("speed", "Size and speed", "\n".join([costs, *_latency_chart(results), _html_list(_notes(results))])),
        _section("tasks", "Scores by task", _figures(_score_charts(results))),
        _section("losses", "Losses while training", _figures(_loss_charts(events))),
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
    sentence = f"The student scores {_number(student['average'])} % on average"
    kept, gain = (results.get(key, {}).get("average", math.nan) for key in ("quality_kept", "gain"))
    if teacher is not None and math.isfinite(kept):
        sentence = f"The student {'keeps' if kept <= 100 else 'reaches'} {_number(kept)} % of its teacher's average"
        costs = []
        if student["speed"] and teacher["speed"]:
            costs.append(f"{_number(teacher['speed']['p50'] / student['speed']['p50'])} times the speed")
        if student["megabytes"] and teacher["megabytes"]:
            costs.append(f"{_number(100 * student['megabytes'] / teacher['megabytes'], '.0f')} % of the size")
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
        return [_number(value, spec) for value in (*map(values.get, tasks), average)]

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
        "speed vs\nteacher": [_number(ratio) + "x" * bool(ratio) for ratio in ratios],
        "throughput\ninputs/s": [_number(speed.get("throughput"), ",.0f") for speed in speeds],
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


def _number(value: Optional[float], spec: str = ",.1f") -> str:
    return format(value, spec) if value is not None and math.isfinite(value) else "-"


def _column(values: Sequence[Optional[float]]) -> list[str]:
    """Numbers with one decimal, or with two where the smallest is below ten."""
    smallest = min((value for value in values if value is not None), default=0)
    return [_number(value, ",.1f" if smallest >= 10 else ",.2f") for value in values]


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
        speed = _number(stage["tokens"] / stage["seconds"] if stage["seconds"] else None, ",.0f")
        cost = [f"{stage['steps']:,}", tokens, duration, speed]
        rows.append([name, stage["trained"], terms, *cost, _number(stage["best_dev"], ".2f")])
    total = ["all stages", "", "", "", "", *_column([sum(minutes)]), "", ""]
    return _html_table("cost", header, [rows, [total]], {}) if stages else ""


def _figures(charts: Iterable[str]) -> str:
    content = "\n".join(charts)
    return f'<div class="figures">\n{content}\n</div>' if content else ""


def _figure(name: str, detail: str, height: float, parts: Iterable[str], description: str) -> str:
    """A captioned drawing CHART_WIDTH units wide; the description is what a screen reader says of it."""
    return (
        f"<figure><figcaption>{html.escape(name)} <span>{html.escape(detail)}</span></figcaption>"
        f'<svg viewBox="0 0 {CHART_WIDTH} {height}" role="img"><title>{html.escape(description)}</title>'
        f"{''.join(parts)}</svg></figure>"
    )


def _text(x: float, y: float, text: str, anchor: str = "start", css: str = "name") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{css}">{html.escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{css}"/>'


def _bar(x: float, y: float, width: float, css: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="20" rx="2" class="{css}"/>'


def _score_charts(results: Mapping[str, Any]) -> Iterable[str]:
    """For each task a bar for each model, from 0 to 100 %, and a line at the score of the most frequent label."""
    left, width, bottom = 100, 190, 8 + 26 * len(results["models"])
    for task, metric in results["metrics"].items():
        chance = results["majority"].get(task, math.nan)
        parts, spoken = [], [f"{LABELS['majority']} {_number(chance)}"]
        for row, model in enumerate(results["models"]):
            role, score, y = model["role"], model["main"].get(task, math.nan), 8 + 26 * row
            parts += [_text(left - 8, y + 14, CHART_LABELS[role], "end"), _bar(left, y, width, "track")]
            parts += [_bar(left, y, width * score / 100, role)] if math.isfinite(score) else []
            parts.append(_text(CHART_WIDTH, y + 14, _number(score), "end"))
            spoken.append(f"{LABELS[role]} {_number(score)}")
        if math.isfinite(chance):
            x, anchor = left + width * chance / 100, "start" if chance < 50 else "end"
            parts.append(_line(x, 4, x, bottom + 2, "chance"))
            parts.append(_text(x, bottom + 15, spoken[0], anchor, "quiet"))
        yield _figure(task, f"{metric}, %", bottom + 20, parts, f"{task}, {metric} in percent: {', '.join(spoken)}")


def _latency_chart(results: Mapping[str, Any]) -> Iterable[str]:
    """One chart of average score over latency, if models were timed."""
    timed = [(model["average"], model["speed"]["p50"], model["role"]) for model in results["models"] if model["speed"]]
    timed = sorted((model for model in timed if math.isfinite(model[0])), reverse=True)
    if not timed:
        return
    height, parts, spoken = 236, [], []
    x = _Axis(0, 1.15 * max(latency for _, latency, _ in timed), 44, PLOT_END)
    y = _Axis.around([average for average, _, _ in timed], height - 44, 12)
    placed: list[tuple[float, float]] = []
    for average, latency, role in timed:
        left, top = x.place(latency), y.place(average)
        # A label goes below that of a near point that it would cover.
        label = max([top + 4, *(other + 14 for near, other in placed if abs(near - left) < 120)])
        placed.append((left, label))
        spoken.append(f"{LABELS[role]}: {_number(average)} % at {_number(latency, '.2f')} ms")
        circle = f'<circle cx="{left:.1f}" cy="{top:.1f}" r="6" class="{role}">'
        parts.append(f"{circle}<title>{html.escape(spoken[-1])}</title></circle>")
        side, anchor = (-11, "end") if left > CHART_WIDTH / 2 else (11, "start")
        parts.append(_text(left + side, label, CHART_LABELS[role], anchor))
    parts = [*_grid(x, y), _text(PLOT_END, height - 6, "latency p50, ms", "end", "quiet"), *parts]
    yield _figure("average score, %", "best at the top left", height, parts, "; ".join(spoken))


def _loss_charts(events: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    """One chart for each stage that logged a loss."""
    stages: dict[str, dict[int, Mapping[str, Any]]] = {}
    for event in events:
        if event["event"] == "log":
            stages.setdefault(event["stage"], {})[event["step"]] = event
    for stage, steps in stages.items():
        terms: dict[str, list[Point]] = {}
        for step, event in sorted(steps.items()):
            for key in event:
                if key.startswith("raw/"):
                    terms.setdefault(key[len("raw/") :], []).append((step, event[key]))
        if terms:
            yield _loss_chart(stage, terms)


def _loss_chart(stage: str, terms: Mapping[str, Sequence[Point]]) -> str:
    points = [point for series in terms.values() for point in series]
    known = [value for _, value in points if math.isfinite(value)] or [0.0]
    x, y = _Axis(0, max(points)[0], 44, PLOT_END), _Axis.around(known, 160, 8)
    # Terms of different size can only be read together on a logarithmic scale.
    if min(known) > 0 and max(known) > 30 * min(known):
        y = _Axis(min(known) / 1.1, max(known) * 1.1, 160, 8, logarithmic=True)
    parts, spoken = _grid(x, y), []
    for index, (term, series) in enumerate(terms.items()):
        css, left, top = f"curve c{index % CURVE_STYLES}", 44 + 148 * (index % 2), 200 + 18 * (index // 2)
        dot = " dot" if len(series) == 1 else ""
        parts.append(f'<path class="{css}{dot}" d="{_path(_thin(series), x, y)}"/>')
        parts += [_line(left, top - 4, left + 22, top - 4, css), _text(left + 29, top, f"{term} {series[-1][1]:.4g}")]
        spoken.append(f"{term} from {series[0][1]:.4g} to {series[-1][1]:.4g}")
    broken = sum(not math.isfinite(value) for _, value in points)
    detail = f"{broken} of {len(points)} are not finite" if broken else ""
    return _figure(stage, detail, top + 6, parts, f"Losses of {stage}: {', '.join(spoken)}")


def _thin(series: Sequence[Point]) -> Sequence[Point]:
    """At most CURVE_POINTS of the points, evenly taken, the first and the last among them."""
    count, last = min(len(series), CURVE_POINTS), len(series) - 1
    return [series[round(index * last / max(1, count - 1))] for index in range(count)]


def _path(series: Iterable[Point], x: _Axis, y: _Axis) -> str:
    """Path data that breaks where a value is not finite; a lone point is a dot."""
    data, start = "", True
    for step, value in series:
        if math.isfinite(value):
            place = f"{x.place(step):.1f} {y.place(value):.1f}"
            data += f"M{place}h0" if start else f"L{place}"
        start = not math.isfinite(value)
    return data


@dataclass(frozen=True)
class _Axis:
    """Values from low to high, low < high, on pixels from start to end."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    @classmethod
    def around(cls, values: Sequence[float], start: float, end: float) -> _Axis:
        """A linear axis with some room above and below the values."""
        low, high = min(values), max(values)
        room = 0.1 * (high - low) or 0.1 * abs(high) or 1.0
        return cls(max(0.0, low - room) if low >= 0 else low - room, high + room, start, end)

    def place(self, value: float) -> float:
        low, high, value = (math.log(v) if self.logarithmic else v for v in (self.low, self.high, value))
        return self.start + (self.end - self.start) * (value - low) / (high - low)

    def ticks(self) -> list[float]:
        """Two to six round values."""
        if self.logarithmic:
            low, high = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            digits = (1, 3) if high - low <= 3 else (1,)
            ticks = [digit * 10.0**power for power in range(low, high + 1) for digit in digits]
            ticks = [tick for tick in ticks if self.low <= tick <= self.high]
            return ticks[:: math.ceil(len(ticks) / 5)]
        span = self.high - self.low
        size = 10 ** math.floor(math.log10(span / 5))
        step = next(factor * size for factor in (1, 2, 5, 10) if span / (factor * size) <= 5)
        return [step * index for index in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


def _grid(x: _Axis, y: _Axis) -> list[str]:
    parts = [_line(x.start, height, x.end, height, "grid") for height in (y.start, *map(y.place, y.ticks()))]
    parts += [_text(x.start - 6, y.place(tick) + 4, f"{tick:.4g}", "end", "quiet") for tick in y.ticks()]
    return parts + [_text(x.place(tick), y.start + 16, f"{tick:,.7g}", "middle", "quiet") for tick in x.ticks()]
