"""The charts of the report: inline SVG drawn here, without a script."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ernie_tiny.report.runs import Entry, Event, metrics_of, spread
from ernie_tiny.report.tables import width

LABELS = {
    "majority": "most frequent label",
    "teacher": "teacher",
    "student": "student",
    "baseline": "student, no distillation",
}
CHART_LABELS = {**LABELS, "baseline": "no distillation"}
OTHER_CLASS = "other"  # of all models that have a title of their own
PUBLISHED = "published"  # class of points of models that others measured
LEGEND = {**CHART_LABELS, OTHER_CLASS: "further model", PUBLISHED: "published elsewhere"}
SHAPES = {  # paths from the middle of a point
    "teacher": "m-5 -5h10v10h-10z",
    "student": "m-6 0a6 6 0 1 0 12 0a6 6 0 1 0 -12 0z",
    "baseline": "m0 -6.5l6.5 12h-13z",
    OTHER_CLASS: "m0 -7l7 7l-7 7l-7 -7z",
    PUBLISHED: "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
}
LABEL_COLUMNS = 15  # that a label has beside a bar
CHART_WIDTH, PLOT_END = 340, 316  # units of an SVG, about a pixel each
CURVE_POINTS, CURVE_STYLES = 400, 7  # the template defines the styles c0, c1, ...
GAP = 8  # between the bars of two runs
PLOT_WIDTH = 400
Point = tuple[int, float]


def number(value: Optional[float], spec: str = ",.1f") -> str:
    """A number for people; "-" for none or for one that is not finite."""
    return format(value, spec) if value is not None and math.isfinite(value) else "-"


def label(role: str) -> str:
    """What a model is called in a table: a role has a label, a further model is called by its title."""
    return LABELS.get(role, role)


def css_class(role: str) -> str:
    return role if role in LABELS else OTHER_CLASS


def _chart_label(role: str) -> str:
    return _cut(CHART_LABELS.get(role, role), LABEL_COLUMNS)


def _cut(text: str, columns: int) -> str:
    """The text, with an ellipsis for the end where it is wider."""
    shown = text
    while width(shown) > columns:
        shown = shown[:-1]
    return text if shown == text else f"{shown[:-1]}…"


def figures(charts: Iterable[str], css: str = "figures") -> str:
    """Drawings side by side; with the class "plots" two and larger."""
    content = "\n".join(charts)
    return f'<div class="{css}">\n{content}\n</div>' if content else ""


def _figure(
    name: str, detail: str, height: float, parts: Iterable[str], description: str, width: int = CHART_WIDTH
) -> str:
    """A captioned drawing `width` units wide; the description is what a screen reader says of it."""
    return (
        f"<figure><figcaption>{html.escape(name)} <span>{html.escape(detail)}</span></figcaption>"
        f'<svg viewBox="0 0 {width} {height}" role="img"><title>{html.escape(description)}</title>'
        f"{''.join(parts)}</svg></figure>"
    )


def _text(x: float, y: float, text: str, anchor: str = "start", css: str = "name") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{css}">{html.escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{css}"/>'


def _bar(x: float, y: float, width: float, css: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="20" rx="2" class="{css}"/>'


def score_charts(entries: Sequence[Entry]) -> Iterable[str]:
    """For each task a bar for each model, from 0 to 100 %, and a line at the score of the most frequent label.

    A model whose score is known to vary has an error bar.
    """
    left = 100 if len(entries) == 1 else 118
    room = 290 - left
    for task, metric in metrics_of(entries):
        having = [entry for entry in entries if entry.results["metrics"].get(task) == metric]
        models = [(entry, model) for entry in having for model in entry.results["models"] if task in model["main"]]
        chances = [entry.results["majority"].get(task) for entry in having]
        chance = next((value for value in chances if value is not None), math.nan)
        gaps = [entry.mark for entry, _ in models]
        bottom = 8 + 26 * len(models) + GAP * max(0, len(set(gaps)) - 1)
        parts, spoken = [], [f"{LABELS['majority']} {number(chance)}"]
        for row, (entry, model) in enumerate(models):
            role, score = model["role"], model["main"][task]
            y = 8 + 26 * row + GAP * (len(set(gaps[: row + 1])) - 1)
            parts += [_text(left - 8, y + 14, entry.marked(_chart_label(role)), "end"), _bar(left, y, room, "track")]
            if math.isfinite(score):
                parts.append(_bar(left, y, room * score / 100, css_class(role)))
                parts += _error_bar([left + room * end / 100 for end in spread(model, task, metric) or ()], y + 10)
            parts.append(_text(CHART_WIDTH, y + 14, number(score), "end"))
            spoken.append(f"{entry.marked(label(role))} {number(score)}")
        if math.isfinite(chance):
            x, anchor = left + room * chance / 100, "start" if chance < 50 else "end"
            parts.append(_line(x, 4, x, bottom + 2, "chance"))
            parts.append(_text(x, bottom + 15, spoken[0], anchor, "quiet"))
        yield _figure(task, f"{metric}, %", bottom + 20, parts, f"{task}, {metric} in percent: {', '.join(spoken)}")


def _error_bar(ends: Sequence[float], y: float) -> list[str]:
    """A bar between two places with a stroke at each; nothing where there are none."""
    strokes = [_line(x, y - 4, x, y + 4, "spread") for x in ends]
    return [_line(min(ends), y, max(ends), y, "spread"), *strokes] if ends else []


@dataclass(frozen=True)
class ModelPoint:
    """A model in a plot of quality over cost; `name` is what stands beside it, `spoken` what it is."""

    x: float
    y: float
    css: str
    name: str
    spoken: str
    spread: Optional[tuple[float, float]] = None


def point_chart(title: str, x_title: str, points: Sequence[ModelPoint], legend: Sequence[str]) -> str:
    """A plot of points over a cost, logarithmic where it spans more than a factor of ten.

    Args:
        points: At least one.
        legend: The classes whose shapes are explained below; none where the names of the points say enough.
    """
    height, end, costs = 250, PLOT_WIDTH - 24, [point.x for point in points]
    x = _Axis(0, 1.25 * max(costs), 44, end)
    if min(costs) > 0 and max(costs) > 10 * min(costs):
        x = _Axis(min(costs) / 1.8, max(costs) * 1.8, 44, end, logarithmic=True)  # room for the names
    y = _Axis.around([value for point in points for value in (point.y, *(point.spread or ()))], height - 44, 12)
    parts = [*_grid(x, y), _text(end, height - 6, x_title, "end", "quiet")]
    parts += _point_names([(x.place(point.x), y.place(point.y), point) for point in points])
    for point in points:  # over the names, whose edges in the page's colour would hide them
        left, ends = x.place(point.x), [y.place(value) for value in point.spread or ()]
        parts += [_line(left, max(ends), left, min(ends), "spread")] if ends else []
        parts.append(_shape(point.css, left, y.place(point.y), point.spoken))
    for index, css in enumerate(legend):
        left, top = 50 + 170 * (index % 2), height + 16 + 18 * (index // 2)
        parts += [_shape(css, left, top - 4, ""), _text(left + 12, top, LEGEND[css])]
    height += 6 + 18 * ((len(legend) + 1) // 2) if legend else 0
    return _figure(title, "best at the top left", height, parts, "; ".join(p.spoken for p in points), PLOT_WIDTH)


def _point_names(places: Sequence[tuple[float, float, ModelPoint]]) -> Iterable[str]:
    """A name beside each point, on the left of published ones, where there is room.

    Points that cover each other have one name, and so have points of one class and different names.
    """
    groups: list[tuple[float, float, str, list[str]]] = []
    for left, top, point in sorted(places, key=lambda place: place[1]):
        near = [group for group in groups if abs(group[0] - left) < 12 and abs(group[1] - top) < 16]
        same = next((group for group in near if group[2] == point.css or point.name in group[3]), None)
        if same is None:
            groups.append((left, top, point.css, [point.name]))
        elif point.name not in same[3]:
            same[3].append(point.name)
    taken = [(left - 7, left + 7, top) for left, top, _ in places]  # from, to, middle
    for left, top, css, names in groups:
        name = ", ".join(sorted(names))
        boxes = []
        for shift in (0, 13, -13, 26, -26):
            after = (left + 9, left + 14 + 7.0 * width(name), top + shift)
            before = (2 * left - after[1], left - 9, top + shift)
            boxes += [before, after] if css == PUBLISHED else [after, before]
        box = next((box for box in boxes if _has_room(box, taken)), boxes[0])
        taken.append(box)
        x, anchor = (box[0] + 2, "start") if box[0] > left else (box[1] - 2, "end")
        yield _text(x, box[2] + 4, name, anchor, "quiet" if css == PUBLISHED else "name")


def _has_room(box: tuple[float, float, float], taken: Iterable[tuple[float, float, float]]) -> bool:
    """Whether a line of text from, to, at the middle lies in the plot and covers nothing."""
    start, end, middle = box
    inside = start > 44 and end < PLOT_WIDTH
    return inside and not any(start < to and at < end and abs(middle - y) < 12 for at, to, y in taken)


def _shape(css: str, x: float, y: float, spoken: str) -> str:
    named = f"<title>{html.escape(spoken)}</title>" if spoken else ""
    return f'<path class="point {css}" d="M{x:.1f} {y:.1f}{SHAPES[css]}">{named}</path>'


def loss_charts(events: Iterable[Event]) -> dict[str, str]:
    """Of each stage that logged a loss a chart of its terms, by the stage's title."""
    charts = {}
    for stage, steps in _logs(events).items():
        terms: dict[str, list[Point]] = {}
        for step, event in sorted(steps.items()):
            for key in event:
                if key.startswith("raw/"):
                    terms.setdefault(key[len("raw/") :], []).append((step, event[key]))
        if terms:
            charts[stage] = _loss_chart(stage, terms)
    return charts


def loss_overlays(runs: Iterable[tuple[str, Iterable[Event]]]) -> dict[str, str]:
    """Of each stage a chart with the weighted loss of every run, given with its mark, by the stage's title."""
    stages: dict[str, dict[str, list[Point]]] = {}
    for mark, events in runs:
        for stage, steps in _logs(events).items():
            losses = [(step, event["loss"]) for step, event in sorted(steps.items())]
            stages.setdefault(stage, {})[mark] = losses
    return {stage: _loss_chart(stage, losses) for stage, losses in stages.items()}


def _logs(events: Iterable[Event]) -> dict[str, dict[int, Event]]:
    """Stage to step to what was logged last there."""
    stages: dict[str, dict[int, Event]] = {}
    for event in events:
        if event["event"] == "log":
            stages.setdefault(event["stage"], {})[event["step"]] = event
    return stages


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


def grid_charts(results: Mapping[str, Any]) -> Iterable[str]:
    """For each task its mean score at each value of the grid's first key, a line for each setting of the other keys.

    Bars reach one standard deviation over seeds up and down.
    """
    key, values = next(iter(results["grid"].items()), ("", [""]))
    for task, metric in results["metrics"].items():
        series: dict[str, list[tuple[int, float, float]]] = {}
        for cell in results["cells"]:
            others = ", ".join(
                f"{name.rpartition('.')[2]} {value}" for name, value in cell["setting"].items() if name != key
            )
            if task in cell["mean"]:
                place = values.index(cell["setting"].get(key, ""))
                point = (place, cell["mean"][task], cell["deviation"].get(task, 0.0))
                series.setdefault(others, []).append(point)
        if series:
            yield _grid_chart(task, metric, key, values, series)


def _grid_chart(
    task: str, metric: str, key: str, values: Sequence[str], series: Mapping[str, list[tuple[int, float, float]]]
) -> str:
    ends = [mean + side * spread for points in series.values() for _, mean, spread in points for side in (-1, 1)]
    x, y = _Axis(-0.5, len(values) - 0.5, 44, PLOT_END), _Axis.around(ends, 160, 8)
    room = int((PLOT_END - 44) / len(values) / 6.5)  # columns of text below a value
    parts = _levels(x, y)
    parts += [_text(x.place(i), 176, _cut(value, max(2, room)), "middle", "quiet") for i, value in enumerate(values)]
    parts.append(_text(PLOT_END, 192, key.rpartition(".")[2], "end", "quiet"))
    spoken, top = [], 196
    for index, (name, points) in enumerate(series.items()):
        css, shift = f"curve c{index % CURVE_STYLES}", 5 * (index - (len(series) - 1) / 2)
        places = [
            (x.place(i) + shift, y.place(mean), y.place(mean - spread), y.place(mean + spread))
            for i, mean, spread in sorted(points)
        ]
        parts.append(f'<path class="{css}" d="M{"L".join(f"{left:.1f} {mid:.1f}" for left, mid, _, _ in places)}"/>')
        for left, mid, low, high in places:
            parts += [_line(left, low, left, high, f"{css} error"), _line(left, mid, left, mid, f"{css} dot")]
        if name:
            top += 18
            parts += [_line(44, top - 4, 66, top - 4, css), _text(73, top, _cut(name, 40))]
        spoken += [f"{name} {values[i]}: {number(mean, '.2f')} ± {number(spread, '.2f')}" for i, mean, spread in points]
    return _figure(task, f"{metric}, %", top + 8, parts, f"{task}, {metric} on dev in percent: {'; '.join(spoken)}")


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


def _levels(x: _Axis, y: _Axis) -> list[str]:
    parts = [_line(x.start, height, x.end, height, "grid") for height in (y.start, *map(y.place, y.ticks()))]
    return parts + [_text(x.start - 6, y.place(tick) + 4, _short(tick), "end", "quiet") for tick in y.ticks()]


def _short(value: float) -> str:
    """Four digits at most, small numbers with an exponent of one: 4.43e-4."""
    return f"{value:.2e}".replace("e-0", "e-") if 0 < abs(value) < 1e-3 else f"{value:.4g}"


def _grid(x: _Axis, y: _Axis) -> list[str]:
    return _levels(x, y) + [_text(x.place(tick), y.start + 16, f"{tick:,.7g}", "middle", "quiet") for tick in x.ticks()]
