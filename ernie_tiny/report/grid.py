"""The results of a grid search: its record, and the same for a terminal and as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Optional

from ernie_tiny.evaluation.statistics import mean_and_deviation
from ernie_tiny.report.charts import grid_charts
from ernie_tiny.report.document import Page, Section
from ernie_tiny.report.results import mean
from ernie_tiny.report.tables import Table, terminal_text
from ernie_tiny.report.wording import number, with_deviation

AS_CONFIGURED = "as configured"  # name of the one cell of a grid of seeds alone
NOTES = (
    "Best of grid is the highest score of a single run, chosen on the very dev examples that it is reported for: "
    "optimistic, as the published numbers are.",
    "Mean ± standard deviation (n - 1) is over the seeds of one cell. The cell with the best mean is chosen on dev as "
    "well, which is optimistic the more, the fewer seeds there are. Bars of a drawing reach one deviation up and down.",
)


@dataclass(frozen=True)
class Trial:
    """One run of a search: a cell of the grid with one seed.

    Attributes:
        cell: The cell's name, which shows its setting.
        setting: Key of the grid to value, as text.
        folder: Of the run.
        state: "open", "begun", "failed" or "finished".
        scores: Task to main metric on dev, in percent; empty until the run is finished.
        seconds: That training took.
    """

    cell: str
    setting: Mapping[str, str]
    seed: str
    folder: str
    state: str = "open"
    scores: Optional[Mapping[str, float]] = None
    seconds: float = 0.0


def summarise_grid(
    name: str, reference: str, grid: Mapping[str, Sequence[str]], metrics: Mapping[str, str], trials: Sequence[Trial]
) -> dict[str, Any]:
    """The content of search.json.

    Keys beside the arguments: `cells`, each with the number of its finished runs and by task their mean and standard
    deviation (none for a single run); `best`, by task the best single run and the cell with the best mean, among
    those of which the most runs are finished.
    """
    cells = []
    for cell in dict.fromkeys(trial.cell for trial in trials):
        own = [trial for trial in trials if trial.cell == cell]
        scores = [trial.scores for trial in own if trial.scores is not None]
        found = {task: mean_and_deviation([each[task] for each in scores]) for task in metrics if scores}
        means, deviations = ({task: pair[part] for task, pair in found.items()} for part in (0, 1))
        runs = {"name": cell, "setting": dict(own[0].setting), "finished": len(scores), "seeds": len(own)}
        cells.append({**runs, "mean": means, "deviation": deviations if len(scores) > 1 else {}})
    return {
        "name": name,
        "score": reference,
        "grid": {key: list(values) for key, values in grid.items()},
        "metrics": dict(metrics),
        "trials": [asdict(trial) for trial in trials],
        "cells": cells,
        "best": _best(metrics, trials, cells),
    }


def _best(metrics: Mapping[str, str], trials: Sequence[Trial], cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    best: dict[str, Any] = {}
    most = max(cell["finished"] for cell in cells)
    cells = [cell for cell in cells if cell["finished"] == most]
    for task in metrics if most else ():
        score, run = max(((trial.scores[task], trial) for trial in trials if trial.scores), key=lambda pair: pair[0])
        cell = max(cells, key=lambda cell: cell["mean"][task])
        best[task] = {
            "single": {"score": score, "cell": run.cell, "seed": run.seed},
            "mean": {"mean": cell["mean"][task], "deviation": cell["deviation"].get(task), "cell": cell["name"]},
        }
    return best


def grid_text(results: Mapping[str, Any]) -> str:
    """The results for a terminal."""
    return terminal_text([_verdict(results), "", _best_table(results), _cell_table(results), *_notes(results)])


def grid_page(results: Mapping[str, Any]) -> Page:
    """Verdict, best settings, the grid drawn, all cells."""
    sections = (
        Section("best", "Best of grid, and best mean", _best_table(results)),
        Section("grid", "Scores over the grid", charts=list(grid_charts(results))),
        Section("cells", "All cells", _cell_table(results), notes=_notes(results)),
    )
    return Page(results["name"], _verdict(results), sections)


def _verdict(results: Mapping[str, Any]) -> str:
    done, best = sum(trial["state"] == "finished" for trial in results["trials"]), results["best"]
    progress = f"{done} of {len(results['trials'])} runs are finished."
    if not best:
        return progress
    top = mean({task: item["single"]["score"] for task, item in best.items()})
    typical = mean({task: item["mean"]["mean"] for task, item in best.items()})
    return (
        f"{progress} {results['score']} on dev: {number(top, '.2f')} % as the best of the grid for each task, which is "
        f"optimistic, as the published numbers are; {number(typical, '.2f')} % as the mean over seeds of the best cell."
    )


def _best_table(results: Mapping[str, Any]) -> Table:
    rows = []
    for task, best in results["best"].items():
        one, over = best["single"], best["mean"]
        scores = [number(one["score"], ".2f"), with_deviation(over["mean"], over["deviation"])]
        rows.append([task, results["metrics"][task], *scores, f"{one['cell']}, seed {one['seed']}", over["cell"]])
    header = ["task", "metric", "best of grid\n%", "best mean\n% ± deviation", "best of grid\nat", "best mean\nat"]
    return Table(header, [rows])


def _cell_table(results: Mapping[str, Any]) -> Table:
    rows = []
    for cell in results["cells"]:
        scores = [with_deviation(cell["mean"].get(task), cell["deviation"].get(task)) for task in results["metrics"]]
        rows.append([cell["name"], f"{cell['finished']}/{cell['seeds']}", *scores, number(mean(cell["mean"]), ".2f")])
    header = ["cell", "seeds", *(f"{task}\n{metric}" for task, metric in results["metrics"].items()), "average"]
    return Table(header, [rows])


def _notes(results: Mapping[str, Any]) -> list[str]:
    failed = [trial["folder"] for trial in results["trials"] if trial["state"] == "failed"]
    notes = [f"Failed: {folder}; its train.log says why." for folder in failed]
    return [*notes, *NOTES]
