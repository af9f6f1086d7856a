"""The chart of a benchmark of exported models: how many times as fast as the first each is, shape by shape."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ernie_tiny.report.charts import COLOURS, STYLE

ROW, PANEL, MARGIN = 0.3, 2.4, 0.9  # inches: a bar with its gap, a shape's part, what stands above and below


def draw_speeds(record: Mapping[str, Any], file: Path) -> None:
    """Writes a record of ernie_tiny.runs.benchmark as a picture, in the form that the file's name ends with.

    A panel for each shape of input, in it a bar for each model and form; what auto took stands beside its bar.
    """
    models = record["models"]
    first = next(iter(models.values()))["timings"]
    with rc_context(fname=STYLE, rc={"axes.grid": False, "font.size": 9}):
        figure = Figure(figsize=(2.5 + PANEL * len(first), MARGIN + ROW * len(models)), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, len(first), sharey=True, squeeze=False)[0]
        for number, (axes, own) in enumerate(zip(panels, first)):
            speeds = [own["p50"] / model["timings"][number]["p50"] for model in models.values()]
            colours = [COLOURS["c1" if model["auto"] else "c0"] for model in models.values()]
            bars = axes.barh(list(models), speeds, color=colours)
            labels = [_label(speed, model, number) for speed, model in zip(speeds, models.values())]
            axes.bar_label(bars, labels, padding=3)
            axes.set(xlim=(0, 1.6 * max(speeds)), xticks=[], title=f"{own['rows']} x {own['length']}")
        panels[0].invert_yaxis()
        figure.suptitle(f"{record['processor']}, {record['threads']} threads: times as fast as the first row")
        figure.savefig(file, dpi=150)


def _label(speed: float, model: Mapping[str, Any], number: int) -> str:
    timing = model["timings"][number]
    return f"{speed:.2f}" + (f" {timing['engine']} {timing['precision']}" if model["auto"] else "")
