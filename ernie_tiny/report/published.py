"""The scores that ERNIE 3.0 Tiny's makers published, where they can stand beside ours."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ernie_tiny.config.shapes import PRETRAINED
from ernie_tiny.report.runs import Entry, metrics_of

MARK = "published, measured elsewhere, best of a grid on dev"
SOURCE = "PaddleNLP, slm/model_zoo/ernie-3.0-tiny/README.md"
METRIC = "accuracy"  # of every published column


@dataclass(frozen=True)
class Published:
    """A published model: its name, its encoder's parameters, task to percent on dev."""

    name: str
    parameters: int
    scores: dict[str, float]


def published_models() -> list[Published]:
    """All rows of published.csv, ERNIE 3.0 (v1) and ERNIE 3.0 Tiny v2, the largest first."""
    lines = Path(__file__).with_name("published.csv").read_text(encoding="utf-8").splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    heads = [(row.pop("model"), PRETRAINED[row.pop("checkpoint")].parameters, row) for row in rows]
    return [Published(name, size, {task: float(score) for task, score in row.items()}) for name, size, row in heads]


def beside_published(entries: Sequence[Entry]) -> tuple[list[Entry], list[str]]:
    """The entries that can stand beside the published rows, and the tasks that a published column answers to.

    A task is of its column's name and metric, on data that was not invented; an entry has no task of that name by
    another metric.
    """
    known = published_models()[0].scores
    real = [entry for entry in entries if _is_real(entry)]
    tasks = [task for task, metric in metrics_of(real) if task in known and metric == METRIC]
    return [entry for entry in real if all(entry.results.metrics.get(task, METRIC) == METRIC for task in tasks)], tasks


def _is_real(entry: Entry) -> bool:
    """Whether the data is known to be the tasks' own: the sample's tasks have their names, too."""
    return all(run.config.get("data", {}).get("sample", True) is False for run in entry.runs)
