"""The study's page: tables, figure and claims put into the text of page.md; what is missing is "not yet run"."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined

from benchmarks.quality import judging
from benchmarks.quality.judging import Point, averages, draws_of, shown
from benchmarks.quality.real_teacher.arms import GROUPS
from benchmarks.quality.real_teacher.claims import NOT_RUN, claims, tasks_of
from ernie_tiny.evaluation.statistics import mean_and_deviation
from ernie_tiny.report.tables import Table
from ernie_tiny.report.wording import number

TEMPLATE = Path(__file__).resolve().parent / "page.md"


def page(study: Mapping[str, Any]) -> str:
    """The page as Markdown."""
    environment = Environment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        in_domain=scores_table(study, "in-domain"),
        out_of_domain=scores_table(study, "out-of-domain"),
        few_labels=scores_table(study, "few labels"),
        claims=claims_table(study),
        costs=costs_table(study),
        processor=timed(study)[0],
        left_out=", ".join(left_out(study)) or "none",
        picture=any(arm["seeds"] for arm in study["arms"].values()),
    )


def scores_table(study: Mapping[str, Any], group: str) -> str:
    """A row for each arm that is scored on the group; draws and sizes of a task in one column, means over them."""
    columns = {name: list(draws) for name, draws in draws_of(GROUPS[group]).items()}
    rows = []
    for letter, arm in study["arms"].items():
        found = [seed["scores"] for seed in arm["seeds"].values()]
        cells = [shown(averages(found, draws)) for draws in columns.values()]
        if any(cell != "-" for cell in cells):
            rows.append([letter, arm["what"], *cells, f"**{shown(averages(found, tasks_of(study, group)))}**"])
        elif group == "in-domain":
            rows.append([letter, arm["what"], NOT_RUN, *[""] * len(columns)])
    if not rows:
        rows = [[NOT_RUN, *[""] * (len(columns) + 2)]]
    return Table(["arm", "", *columns, f"**{group}**"], [rows]).markdown()


def claims_table(study: Mapping[str, Any]) -> str:
    header = ["claim", "what is claimed", "what was found", "95 % of examples and seeds", "verdict"]
    rows = [[str(each.number), each.text, each.numbers, each.interval, each.verdict] for each in claims(study)]
    return Table(header, [rows]).markdown()


def costs_table(study: Mapping[str, Any]) -> str:
    """Parameters, bytes, latency at batch 1 (of the shape) and hours beside quality."""
    latency, rows = latencies(study), []
    times = timed(study)[1]
    for letter, arm in study["arms"].items():
        seeds = list(arm["seeds"].values())
        if not seeds:
            continue
        first = seeds[0]
        hours = [seed["hours"] for seed in times[letter]]
        quality = averages([seed["scores"] for seed in seeds], tasks_of(study, "in-domain"))
        rows.append([
            letter, arm["what"], number(first["parameters"] / 1e6, ".2f"), number(first["layers"] / 1e6, ".2f"),
            number(first["megabytes"]), number(latency.get(first["parameters"]), ".2f"),
            number(mean_and_deviation(hours)[0] if hours else None, ".2f"), shown(quality),
        ])  # fmt: skip
    header = ["arm", "", "parameters, M", "of layers, M", "MB", "ms at batch 1", "training hours", "in-domain"]
    return Table(header, [rows or [[NOT_RUN, *[""] * 7]]]).markdown()


def left_out(study: Mapping[str, Any]) -> list[str]:
    """The tasks that carry no signal."""
    return [
        name for group, tasks in GROUPS.items() for name, draws in draws_of(tasks).items()
        if not set(draws) <= set(tasks_of(study, group))
    ]  # fmt: skip


def draw(study: Mapping[str, Any], target: Path) -> None:
    """The picture of the arms that are scored in domain."""
    latency, points = latencies(study), []
    for letter, arm in study["arms"].items():
        seeds = list(arm["seeds"].values())
        found = averages([seed["scores"] for seed in seeds], tasks_of(study, "in-domain"))
        if found and (size := seeds[0]["parameters"]) in latency:
            points.append(Point(letter, arm["what"], size, latency[size], found))
    judging.draw(points, target)


def timed(study: Mapping[str, Any]) -> tuple[str, dict[str, list[Mapping[str, Any]]]]:
    """The teacher's processor ("" without a teacher), and each arm's seeds there: times of two are not compared."""
    seeds = {letter: list(arm["seeds"].values()) for letter, arm in study["arms"].items()}
    name = seeds["a"][0]["processor"] if seeds["a"] else ""
    return name, {letter: [seed for seed in found if seed["processor"] == name] for letter, found in seeds.items()}


def latencies(study: Mapping[str, Any]) -> dict[int, float]:
    """Parameters to the median latency on one processor of networks with so many, which have one shape."""
    found: dict[int, list[float]] = {}
    for seed in chain.from_iterable(timed(study)[1].values()):
        if seed["latency"] is not None:
            found.setdefault(seed["parameters"], []).append(seed["latency"])
    return {parameters: float(np.median(values)) for parameters, values in found.items()}
