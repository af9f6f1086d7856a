"""How the studies judge: which tasks carry a signal, averages by seed, gains of arms over others, and the picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ernie_tiny.evaluation.statistics import mean_and_deviation
from ernie_tiny.report.results import by_drawn_task, mean
from ernie_tiny.report.wording import with_deviation


def above_majority(score: float, majority: float, examples: float) -> bool:
    """Whether a score is above the majority baseline by more than two standard errors of the dev set (all percent)."""
    share = majority / 100
    return score - majority > 200 * math.sqrt(share * (1 - share) / examples)


def draws_of(tasks: Sequence[str]) -> dict[str, list[str]]:
    """Task to its draws, or to itself."""
    return by_drawn_task(dict(zip(tasks, tasks)))


def averages(scores: Sequence[Mapping[str, float]], tasks: Sequence[str]) -> list[float]:
    """By seed the mean over tasks, of which the draws count as one; nothing for a seed that was not run on them."""
    return [mean({task: found[task] for task in tasks}) for found in scores if set(tasks) <= set(found)]


def shown(values: Sequence[float], spec: str = ".2f") -> str:
    """The mean with its deviation; "-" for no values."""
    center, deviation = mean_and_deviation(values) if values else (math.nan, math.nan)
    return with_deviation(center, deviation, spec)


def gains_between(above: Sequence[float], below: Sequence[float]) -> tuple[list[float], str]:
    """The gains by seed, and whether the first is above the second: it "holds" if it is for every seed."""
    gains = [one - other for one, other in zip(above, below)]
    return gains, "holds" if min(gains) > 0 else "on average" if sum(gains) > 0 else "fails"


@dataclass(frozen=True)
class Point:
    """One arm in the picture: its letter, what it is, parameters, latency in ms, and its average by seed."""

    arm: str
    what: str
    parameters: int
    latency: float
    averages: Sequence[float]


def draw(points: Sequence[Point], target: Path) -> None:
    """The in-domain average of every arm over its parameters and over its latency, which is its shape's median."""
    import matplotlib.pyplot as plt
    import numpy as np

    shapes: dict[int, list[Point]] = {}
    for point in points:
        shapes.setdefault(point.parameters, []).append(point)
    latency = {size: float(np.median([point.latency for point in alike])) for size, alike in shapes.items()}
    figure, panels = plt.subplots(1, 2, figsize=(11, 5.5), sharey=True, layout="constrained")
    for panel, costs, title in (
        (panels[0], {size: size / 1e6 for size in shapes}, "parameters, M"), (panels[1], latency, "latency p50, ms")
    ):  # fmt: skip
        step = max(costs.values(), default=1.0) / 120
        for size, alike in shapes.items():
            for place, point in enumerate(alike):
                _mark(panel, point, costs[size] + step * (place - (len(alike) - 1) / 2), left=bool(place % 2))
        panel.set_xlim(0, max(costs.values(), default=1.0) * 1.1)
        panel.set_xlabel(f"{title} (arms of one shape side by side)")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("in-domain average, %")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": "study"}):  # text as text; the same drawing, same file
        figure.savefig(target, metadata={"Date": None})
    plt.close(figure)


def _mark(panel: Any, point: Point, x: float, left: bool) -> None:
    center, deviation = mean_and_deviation(point.averages)
    panel.errorbar(x, center, deviation, fmt="o", capsize=3, label=f"{point.arm}: {point.what}")
    side = {"xytext": (-5, 4), "ha": "right"} if left else {"xytext": (5, 4), "ha": "left"}
    panel.annotate(point.arm, (x, center), textcoords="offset points", **side)
