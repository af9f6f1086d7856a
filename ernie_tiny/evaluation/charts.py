"""The charts of the report: inline SVG drawn here, without a script."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

LABELS = {
    "majority": "most frequent label",
    "teacher": "teacher",
    "student": "student",
    "baseline": "student, no distillation",
}
CHART_LABELS = {**LABELS, "baseline": "no distillation"}
CHART_WIDTH, PLOT_END = 340, 316  # units of an SVG, about a pixel each
CURVE_POINTS, CURVE_STYLES = 400, 7  # the template defines the styles c0, c1, ...
Point = tuple[int, float]


def number(value: Optional[float], spec: str = ",.1f") -> str:
    """A number for people; "-" for none or for one that is not finite."""
    return format(value, spec) if value is not None and math.isfinite(value) else "-"


def figures(charts: Iterable[str]) -> str:
    """Drawings side by side."""
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


def score_charts(results: Mapping[str, Any]) -> Iterable[str]:
    """For each task a bar for each model, from 0 to 100 %, and a line at the score of the most frequent label."""
    left, width, bottom = 100, 190, 8 + 26 * len(results["models"])
    for task, metric in results["metrics"].items():
        chance = results["majority"].get(task, math.nan)
        parts, spoken = [], [f"{LABELS['majority']} {number(chance)}"]
        for row, model in enumerate(results["models"]):
            role, score, y = model["role"], model["main"].get(task, math.nan), 8 + 26 * row
            parts += [_text(left - 8, y + 14, CHART_LABELS[role], "end"), _bar(left, y, width, "track")]
            parts += [_bar(left, y, width * score / 100, role)] if math.isfinite(score) else []
            parts.append(_text(CHART_WIDTH, y + 14, number(score), "end"))
            spoken.append(f"{LABELS[role]} {number(score)}")
        if math.isfinite(chance):
            x, anchor = left + width * chance / 100, "start" if chance < 50 else "end"
            parts.append(_line(x, 4, x, bottom + 2, "chance"))
            parts.append(_text(x, bottom + 15, spoken[0], anchor, "quiet"))
        yield _figure(task, f"{metric}, %", bottom + 20, parts, f"{task}, {metric} in percent: {', '.join(spoken)}")


def latency_chart(results: Mapping[str, Any]) -> Iterable[str]:
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
        spoken.append(f"{LABELS[role]}: {number(average)} % at {number(latency, '.2f')} ms")
        circle = f'<circle cx="{left:.1f}" cy="{top:.1f}" r="6" class="{role}">'
        parts.append(f"{circle}<title>{html.escape(spoken[-1])}</title></circle>")
        side, anchor = (-11, "end") if left > CHART_WIDTH / 2 else (11, "start")
        parts.append(_text(left + side, label, CHART_LABELS[role], anchor))
    parts = [*_grid(x, y), _text(PLOT_END, height - 6, "latency p50, ms", "end", "quiet"), *parts]
    yield _figure("average score, %", "best at the top left", height, parts, "; ".join(spoken))


def loss_charts(events: Iterable[Mapping[str, Any]]) -> Iterable[str]:
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
