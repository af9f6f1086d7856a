"""The report of one run or of several, as one HTML page and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ernie_tiny.report.charts import Chart, loss_charts, score_charts
from ernie_tiny.report.comparison import cost_table, differences_table, published_table, runs_table
from ernie_tiny.report.document import Page, Section
from ernie_tiny.report.published import MARK, SOURCE
from ernie_tiny.report.quality import published_charts, quality_charts
from ernie_tiny.report.runs import Entry, Run, models_of, to_entries
from ernie_tiny.report.summary import costs_table, export_notes, notes_of, scores_table, types_table, verdict

FOLDED = 3  # charts of one stage that are shown; more are folded away
PUBLISHED_NOTE = (
    f"Published models: {MARK}. Source: {SOURCE}. Ours are the runs' dev scores above, each of one configuration."
)
TYPES_NOTE = (
    "In percent on dev. An entity is right if its type and both of its ends are; support is the number of entities "
    "that there are. Broken: sequences of most probable tags that do not keep to their scheme; the best that do stand "
    "for them."
)
LOSS_NOTE = "The weighted loss of each run: where objectives differ, heights do not compare."


def report_page(runs: Sequence[Run]) -> Page:
    """Verdict, scores, costs, losses and what runs differ in.

    Args:
        runs: At least one. Those that differ in nothing but the seed stand as one, with means and deviations.
    """
    entries = to_entries(runs)
    beside = published_table(entries)
    known = list(published_charts(entries)) if beside else []
    marked = [each for entry in entries for each in entry.marked_runs]
    exports = [f"{mark} {note}".strip() for mark, run in marked for note in export_notes(run.results)]
    sections = [
        Section("quality", "Quality over cost", charts=list(quality_charts(entries)), layout="plots"),
        Section("scores", "Scores", scores_table(entries)),
        Section("speed", "Size and speed", costs_table(entries), notes=_notes(entries)),
        Section("tasks", "Scores by task", charts=list(score_charts(entries)), notes=_bar_notes(entries)),
        _entities(entries),
        Section("published", "Beside the published scores", beside, known, [PUBLISHED_NOTE] * bool(beside), "plots"),
        _losses(entries),
        Section("cost", "Training cost", cost_table(entries)),
        Section("differences", "Where the configs differ", differences_table(entries)),
        Section("exports", "Exports", notes=exports),
    ]
    if len(runs) > 1:
        sections.insert(0, Section("runs", "Runs", runs_table(entries), notes=run_notes(entries)))
    title = entries[0].title if len(entries) == 1 else f"Comparison of {len(entries)} runs"
    return Page(title, summary(entries), sections)


def summary(entries: Sequence[Entry]) -> str:
    """Of one entry its verdict; of several who keeps most of its teacher and who gains most."""
    if len(entries) == 1:
        state = entries[0].runs[0].state
        return f"This run is {state}." if state else verdict(entries[0].results)
    if _differ_in_tasks(entries):
        return "The runs differ in their tasks or metrics, so that their averages do not compare."
    sentences = []
    for key, text in (
        ("quality_kept", "keeps most of its teacher's average ({:.1f} %)"),
        ("gain", "gains most by distillation ({:+.1f} points)"),
    ):
        values = [(getattr(entry.results, key).get("average", math.nan), entry.mark) for entry in entries]
        found = [pair for pair in values if math.isfinite(pair[0])]
        if len(found) > 1:
            best = max(found)[0]
            marks = [mark for value, mark in found if value == best]
            sentences.append(f"{'Run' if len(marks) == 1 else 'Each of'} {' and '.join(marks)} {text.format(best)}.")
    return " ".join(sentences) or "There are no two students to compare."


def run_notes(entries: Sequence[Entry]) -> list[str]:
    """A sentence for each entry and where its runs lie."""
    notes = []
    for entry in entries:
        said = f"{entry.runs[0].state}." if entry.runs[0].state else verdict(entry.results)
        where = "; ".join(
            f"{mark + ' ' if len(entry.runs) > 1 else ''}{run.folder}, seed {run.config.get('seed', 'unknown')}"
            for mark, run in entry.marked_runs
        )
        notes.append(f"{entry.marked(entry.title)} ({where}): {said[0].upper()}{said[1:]}")
    return [*notes, "Averages are over each run's own tasks."] if _differ_in_tasks(entries) else notes


def _differ_in_tasks(entries: Sequence[Entry]) -> bool:
    return len({frozenset(entry.results.metrics.items()) for entry in entries if entry.results.models}) > 1


def _notes(entries: Sequence[Entry]) -> list[str]:
    """How the entries' numbers came to be, each sentence once."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        for note in notes_of(entry.results) if entry.results.models else ():
            found.setdefault(note, []).append(entry.mark)
    shared = [note for note, marks in found.items() if len(marks) == len(entries)]
    return [*shared, *(f"{', '.join(marks)}: {note}" for note, marks in found.items() if note not in shared)]


def _bar_notes(entries: Sequence[Entry]) -> list[str]:
    models = [model for _, model in models_of(entries)]
    over = "One standard deviation over the seeds, of a single run over a task's draws, up and down."
    notes = [over] if any(model.deviation for model in models) else []
    if any(model.intervals for model in models):
        notes.append("95 % interval over the choice of dev examples (bootstrap, 1,000 resamples).")
    return [f"Error bars: {' Or: '.join(notes)}"] if notes else []


def _entities(entries: Sequence[Entry]) -> Section:
    table = types_table(entries)
    several = any(len(entry.runs) > 1 for entry in entries)
    notes = [TYPES_NOTE, *["Means over the seeds."] * several] if table else []
    return Section("entities", "Named entities by type", table, notes=notes)


def _losses(entries: Sequence[Entry]) -> Section:
    """Of one run the terms of each stage, of several the weighted loss; stages that ran for many tasks are folded."""
    runs = [(mark, run.events) for entry in entries for mark, run in entry.marked_runs]
    charts = loss_charts(runs)
    stages: dict[str, list[Chart]] = {}
    for title, chart in charts.items():
        stages.setdefault(title.partition("/")[0], []).append(chart)
    shown = [chart for found in stages.values() if len(found) <= FOLDED for chart in found]
    folded = {f"{stage}: {len(found)} tasks": found for stage, found in stages.items() if len(found) > FOLDED}
    notes = [LOSS_NOTE] if len(runs) > 1 and charts else []
    return Section("losses", "Losses while training", charts=shown, folded=folded, notes=notes)
