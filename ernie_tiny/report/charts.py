"""The charts of the report, drawn by matplotlib as SVG that stands in the page and takes its colours and fonts."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any, Optional
from xml.etree import ElementTree

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox
from numpy.typing import ArrayLike
from rich.cells import cell_len, set_cell_size

from ernie_tiny.batch import Array
from ernie_tiny.report.runs import Entry, Event, metrics_of, models_of
from ernie_tiny.report.wording import LABELS, OTHER_CLASS, css_class, label, number

# Those of templates/charts.mplstyle, by the names of the page's variables, which stand in the SVG for a dark page.
COLOURS = MappingProxyType({
    "page": "#ffffff", "ink": "#1c1f23", "quiet": "#5b636d", "line": "#dfe3e8", "shade": "#f5f7f9", "c0": "#0072b2",
    "c1": "#d55e00", "c2": "#767676", "c3": "#009e73", "c4": "#b0609a", "c5": "#8f6c00", "c6": "#3a3aa0",
})  # fmt: skip
NAMES = MappingProxyType({colour: f"var(--{name})" for name, colour in COLOURS.items()})
INK, QUIET, SHADE = (COLOURS[name] for name in ("ink", "quiet", "shade"))
PUBLISHED = "published"  # class of points of models that others measured
CHART_LABELS = {**LABELS, "baseline": "no distillation"}
LEGEND = {**CHART_LABELS, OTHER_CLASS: "further model", PUBLISHED: "published elsewhere"}
SHAPES = MappingProxyType({  # marker, size, colour
    "teacher": ("s", 9, COLOURS["c0"]), "student": ("o", 11, COLOURS["c1"]), "baseline": ("^", 11, COLOURS["c2"]),
    OTHER_CLASS: ("D", 9, COLOURS["c3"]), PUBLISHED: ("o", 8, QUIET),
})  # fmt: skip
LABEL_COLUMNS = 15  # that a label has beside a bar
CHART_WIDTH, PLOT_WIDTH = 340, 400  # units of an SVG, about a pixel each
CURVE_POINTS = 400  # of a longer one, evenly taken
BAR, GAP = 26, 8  # units from bar to bar, and more between two runs
NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")  # characters that a name may have and XML may not
STYLE = Path(__file__).with_name("templates") / "charts.mplstyle"


@dataclass(frozen=True)
class Chart:
    """A drawing with its caption, a name and a detail; the SVG begins with a title for a screen reader."""

    name: str
    detail: str
    svg: str


@contextmanager
def _axes(width: int, left: int, right: int, bottom: int, height: int) -> Iterator[Axes]:
    """Axes of a height with margins around them, in units, whose names have room for what they are."""
    with rc_context(fname=STYLE), warnings.catch_warnings():
        # matplotlib measures text with its own font; the browser has one for Chinese.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        whole = height + bottom + 8
        figure = Figure(figsize=(width / 72, whole / 72), dpi=72, frameon=False)
        FigureCanvasAgg(figure)  # measures
        axes = figure.add_axes((left / width, bottom / whole, (width - left - right) / width, height / whole))
        axes.patch.set_visible(False)
        yield axes


def _svg(axes: Axes, title: str, spoken: Sequence[str] = ()) -> str:
    """What is drawn, as an element of the page.

    An artist's gid becomes its class; a number behind it is that of its own title among the spoken ones.
    """
    buffer, nothing = StringIO(), dict.fromkeys(("Format", "Type", "Creator", "Date"))
    figure = axes.figure
    assert isinstance(figure, Figure)
    figure.savefig(buffer, format="svg", metadata=nothing)
    root = ElementTree.fromstring(NO_XML.sub("\ufffd", buffer.getvalue()))
    for element in list(root.iter()):
        element.tag, element.tail = element.tag.rpartition("}")[2], None
        attributes = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
        attributes.pop("clip-path", None)  # nothing is drawn outside, and a reference would cross folded charts
        element.attrib.clear()
        if element.tag == "g":
            css, _, number = attributes.pop("id", "_").partition(" #")
            attributes.update({"class": css} if "_" not in css else {})  # matplotlib's own are figure_1 and the like
            if number:
                element.insert(0, _title(spoken[int(number)]))
        attributes["style"] = re.sub("#[0-9a-f]{6}", lambda colour: NAMES[colour[0]], attributes.get("style", ""))
        attributes["d"] = re.sub(r"(\.\d)\d+", r"\1", " ".join(attributes.get("d", "").split()))
        element.attrib.update({name: value for name, value in attributes.items() if value})
    for definitions in root.findall("defs"):  # a style for the whole page, and clips
        root.remove(definitions)
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img"}
    root.insert(0, _title(title))
    return ElementTree.tostring(root, "unicode")


def _title(text: str) -> ElementTree.Element:
    element = ElementTree.Element("title")
    element.text = text
    return element


def _cut(text: str, columns: int) -> str:
    """The text, with an ellipsis for the end where it is wider."""
    return text if cell_len(text) <= columns else set_cell_size(text, columns - 1).rstrip() + "…"


def _short(value: float, _: object = None) -> str:
    """Four digits at most, small numbers with an exponent of one: 4.43e-4."""
    return f"{value:.2e}".replace("e-0", "e-") if 0 < abs(value) < 1e-3 else f"{value:.4g}"


def _scale(axes: Axes, name: str, values: Sequence[float], factor: float = math.inf, room: float = 0.0) -> None:
    """The axis x or y with two to six round values beside it.

    Args:
        factor: If the values, all above zero, span more than this, the axis is logarithmic.
        room: Beyond the values, as a part of what they span; a linear axis goes below zero only where a value does.
    """
    low, high, axis = min(values), max(values), getattr(axes, f"{name}axis")
    span, ends = high - low or abs(high) or 1.0 / (room or 1.0), getattr(axes, f"set_{name}lim")
    if low > 0 and high > factor * low:
        getattr(axes, f"set_{name}scale")("log")
        axis.set_major_locator(LogLocator(subs=(1, 3) if high < 1000 * low else (1,), numticks=6))
        ends(low * (low / high) ** room, high * (high / low) ** room)
    else:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        ends(low - room * span if low < 0 else max(0.0, low - room * span), high + room * span)
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(_short if name == "y" else lambda value, _: f"{value:,.7g}"))


def score_charts(entries: Sequence[Entry]) -> Iterator[Chart]:
    """For each task a bar for each model, from 0 to 100 %, and a line at the score of the most frequent label.

    A model whose score is known to vary has an error bar.
    """
    for task, metric in metrics_of(entries):
        having = [entry for entry in entries if entry.results.metrics.get(task) == metric]
        chance = next((entry.results.majority[task] for entry in having if task in entry.results.majority), math.nan)
        yield _score_chart(task, metric, chance, having)


def _score_chart(task: str, metric: str, chance: float, entries: Sequence[Entry]) -> Chart:
    models = [(entry, model) for entry, model in models_of(entries) if task in model.main]
    marks = [entry.mark for entry, _ in models]
    places = [BAR * row + GAP * len({*marks[: row + 1]}) for row in range(len(models))]
    height = places[-1] + BAR - GAP if places else GAP
    spoken = [f"{LABELS['majority']} {number(chance)}"] if math.isfinite(chance) else []
    with _axes(CHART_WIDTH, 100 if len(entries) == 1 else 118, 50, 18, height) as axes:
        axes.set(xlim=(0, 100), ylim=(height, 0), xticks=[])
        axes.grid(False)
        axes.spines["bottom"].set_visible(False)
        names = [entry.marked(_cut(CHART_LABELS.get(model.role, model.role), LABEL_COLUMNS)) for entry, model in models]
        axes.set_yticks([place + BAR / 2 - GAP for place in places], names, color=INK)
        for (entry, model), place in zip(models, axes.get_yticks()):
            score, ends = model.main[task], model.spread(task, metric)
            axes.barh(place, 100, 20, color=SHADE)
            if math.isfinite(score):
                axes.barh(place, max(0.0, score), 20, color=SHAPES[css_class(model.role)][2])
                _spread(axes, *zip(*((min(max(end, 0.0), 100.0), place) for end in ends or ())), marker="|")
            axes.annotate(
                number(score),
                (1, place),
                (46, 0),
                ("axes fraction", "data"),
                "offset points",
                ha="right",
                va="center_baseline",
            )
            spoken.append(f"{entry.marked(label(model.role))} {number(score)}")
        if math.isfinite(chance):
            axes.axvline(chance, color=INK, linewidth=1.25, dashes=(2.4, 2.4), gid="chance")
            axes.text(chance, height + 12, spoken[0], color=QUIET, ha="left" if chance < 50 else "right")
        title = f"{task}, {metric} in percent: {', '.join(spoken)}"
        return Chart(task, f"{metric}, %", _svg(axes, title))


def _shape(axes: Axes, x: Sequence[float], y: Sequence[float], css: str, **more: Any) -> Line2D:
    """The shape of a class of models at a place, or at none, for a legend."""
    marker, size, colour = SHAPES[css]
    fill: Any = "none" if css == PUBLISHED else "full"
    more = {"color": colour, "markersize": size, "fillstyle": fill, "linestyle": "", "clip_on": False, **more}
    return axes.plot(x, y, marker=marker, **more)[0]


def _spread(axes: Axes, *places: Sequence[float], marker: str) -> None:
    """An error bar between two places, given as [x, x], [y, y], with strokes at its ends; nothing without them."""
    if places:
        axes.plot(*places, "-", color=INK, linewidth=1.5, marker=marker, markersize=8, gid="spread", clip_on=False)


@dataclass(frozen=True)
class ModelPoint:
    """A model in a plot of quality over cost; `name` is what stands beside it, `spoken` what it is."""

    x: float
    y: float
    css: str
    name: str
    spoken: str
    spread: Optional[tuple[float, float]] = None


def point_chart(title: str, x_title: str, points: Sequence[ModelPoint], legend: Sequence[str]) -> Chart:
    """A plot of points over a cost, logarithmic where it spans more than a factor of ten.

    Args:
        points: At least one.
        legend: The classes whose shapes are explained below; none where the names of the points say enough.
    """
    costs, rows = [point.x for point in points], (len(legend) + 1) // 2
    spoken = [point.spoken for point in points]
    with _axes(PLOT_WIDTH, 44, 24, 44 + 18 * rows, 194) as axes:
        # There is room for names on the right.
        _scale(axes, "x", costs if min(costs) > 0 and max(costs) > 10 * min(costs) else [0, max(costs)], 10, 0.25)
        _scale(axes, "y", [value for point in points for value in (point.y, *(point.spread or ()))], room=0.1)
        axes.set_xlabel(x_title, loc="right")
        for index, point in enumerate(points):
            _spread(axes, *zip(*((point.x, end) for end in point.spread or ())), marker="_")
            _shape(axes, [point.x], [point.y], point.css, gid=f"point {point.css} #{index}")
        _name(axes, points)
        for css in legend:
            _shape(axes, [], [], css, label=LEGEND[css])
        if legend:
            axes.legend(ncols=2, loc="upper left", bbox_to_anchor=(0, -50 / 194))
        return Chart(title, "best at the top left", _svg(axes, "; ".join(spoken), spoken))


def _name(axes: Axes, points: Sequence[ModelPoint]) -> None:
    """Puts a name beside each point, on the left of published ones, where there is room.

    Points that cover each other have one name, and so have points of one class and different names.
    """
    places = axes.transData.transform([(point.x, point.y) for point in points])
    groups: list[tuple[Array, ModelPoint, list[str]]] = []
    for place, point in sorted(zip(places, points), key=lambda item: -item[0][1]):
        near = [group for group in groups if np.all(np.abs(group[0] - place) < (12, 16))]
        same = next((group for group in near if group[1].css == point.css or point.name in group[2]), None)
        if same is None:
            groups.append((place, point, [point.name]))
        elif point.name not in same[2]:
            same[2].append(point.name)
    taken = [Bbox.from_bounds(x - 7, y - 7, 14, 14) for x, y in places]
    plot = Bbox.from_extents(axes.bbox.x0, axes.bbox.y0 - 8, axes.figure.bbox.x1, axes.figure.bbox.y1)
    for _, point, names in groups:
        published = point.css == PUBLISHED
        text = axes.annotate(
            ", ".join(sorted(names)), (point.x, point.y), (0, 0), textcoords="offset points", va="center"
        )
        text.set_color(QUIET if published else INK)
        for shift, side in [*product((0, 13, -13, 26, -26), (-1, 1) if published else (1, -1)), (0, 1)]:
            text.set(position=(11 * side, shift), horizontalalignment="left" if side > 0 else "right")
            box = text.get_window_extent()
            if plot.containsx(box.x0) and plot.containsx(box.x1) and not box.count_overlaps(taken):
                break
        taken.append(text.get_window_extent())


def loss_charts(runs: Sequence[tuple[str, Iterable[Event]]]) -> dict[str, Chart]:
    """Of each stage that logged a loss a chart, by the stage's title, from the events of runs with their marks.

    It shows the terms of one run, and of several the weighted loss of each. The later of two logs of a step counts.
    """
    stages: dict[str, dict[str, dict[int, float]]] = {}
    for mark, events in runs:
        for event in events:
            if event["event"] == "log":
                terms = {key[len("raw/") :]: value for key, value in event.items() if key.startswith("raw/")}
                for name, value in terms.items() if len(runs) == 1 else [(mark, event["loss"])]:
                    stages.setdefault(event["stage"], {}).setdefault(name, {})[event["step"]] = value
    return {stage: _loss_chart(stage, terms) for stage, terms in stages.items()}


def _loss_chart(stage: str, terms: Mapping[str, Mapping[int, float]]) -> Chart:
    values = [value for series in terms.values() for value in series.values()]
    known = [value for value in values if math.isfinite(value)] or [0.0]
    spoken = []
    with _axes(CHART_WIDTH, 44, 24, 28 + 18 * ((len(terms) + 1) // 2), 152) as axes:
        _scale(axes, "x", [0, max(max(series) for series in terms.values())])
        _scale(axes, "y", known, 30, 0.1)  # terms of different size can only be read together on a logarithmic scale
        for term, series in terms.items():
            points = np.array(sorted(series.items()))
            (_, first), (_, last) = points[[0, -1]]
            even = np.unique(np.linspace(0, len(points) - 1, CURVE_POINTS).round().astype(int))
            _curve(axes, *points[even].T, label=f"{term} {last:.4g}")
            spoken.append(f"{term} from {first:.4g} to {last:.4g}")
        axes.legend(ncols=2, markerscale=0, loc="upper left", bbox_to_anchor=(0, -30 / 152))
        broken = sum(not math.isfinite(value) for value in values)
        detail = f"{broken} of {len(values)} are not finite" if broken else ""
        return Chart(stage, detail, _svg(axes, f"Losses of {stage}: {', '.join(spoken)}"))


def _curve(axes: Axes, x: ArrayLike, y: ArrayLike, **style: Any) -> Line2D:
    """A line that breaks where a value is not finite; a lone point is a dot."""
    known = np.isfinite(y)
    lone = np.flatnonzero(known & (np.convolve(known, [1, 0, 1])[1:-1] == 0))
    style = {"marker": "o", "markevery": lone.tolist(), "gid": "curve", "clip_on": False, **style}
    return axes.plot(x, np.where(known, y, np.nan), **style)[0]


def grid_charts(results: Mapping[str, Any]) -> Iterator[Chart]:
    """For each task its mean score at each value of the grid's first key, a line for each setting of the other keys.

    Bars reach one standard deviation over seeds up and down.
    """
    key, values = next(iter(results["grid"].items()), ("", [""]))
    for task, metric in results["metrics"].items():
        series: dict[str, list[tuple[int, float, float]]] = {}
        for cell in results["cells"]:
            others = [f"{name.rpartition('.')[2]} {at}" for name, at in cell["setting"].items() if name != key]
            if task in cell["mean"]:
                place, over = values.index(cell["setting"].get(key, "")), cell["deviation"].get(task, 0.0)
                series.setdefault(", ".join(others), []).append((place, cell["mean"][task], over))
        if series:
            yield _grid_chart(task, metric, key, values, series)


def _grid_chart(
    task: str, metric: str, key: str, values: Sequence[str], series: Mapping[str, list[tuple[int, float, float]]]
) -> Chart:
    ends = [mean + side * spread for points in series.values() for _, mean, spread in points for side in (-1, 1)]
    room = int((CHART_WIDTH - 68) / len(values) / 6.5)  # columns of text below a value
    named, spoken = any(series), []
    with _axes(CHART_WIDTH, 44, 24, 40 + 18 * len(series) * named, 152) as axes:
        _scale(axes, "y", ends, room=0.1)
        axes.set(xlim=(-0.5, len(values) - 0.5))
        axes.set_xticks(range(len(values)), [_cut(value, max(2, room)) for value in values])
        axes.set_xlabel(key.rpartition(".")[2], loc="right")
        for index, (name, points) in enumerate(series.items()):
            places, means, spreads = np.array(sorted(points)).T
            places += (index - (len(series) - 1) / 2) * 5 * len(values) / (CHART_WIDTH - 68)  # side by side
            line = _curve(axes, places, means, label=_cut(name, 40), markevery=None)
            axes.vlines(places, means - spreads, means + spreads, line.get_color(), linewidth=1.25, gid="error")
            spoken += [f"{name} {values[i]}: {mean:.2f} ± {spread:.2f}" for i, mean, spread in points]
        if named:
            axes.legend(loc="upper left", bbox_to_anchor=(0, -44 / 152))
        title = f"{task}, {metric} on dev in percent: {'; '.join(spoken)}"
        return Chart(task, f"{metric}, %", _svg(axes, title))
