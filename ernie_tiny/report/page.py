"""The report of one run or of several, as one HTML page and as Markdown."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from ernie_tiny.report.charts import css_class, figures, label, loss_charts, loss_overlays, score_charts
from ernie_tiny.report.comparison import Table, cost_table, differences_table, published_table, runs_table
from ernie_tiny.report.published import MARK, SOURCE
from ernie_tiny.report.quality import published_charts, quality_charts
from ernie_tiny.report.runs import Entry, Run, to_entries
from ernie_tiny.report.summary import export_notes, notes_of, part, results_table, verdict
from ernie_tiny.report.tables import html_document, html_list, html_section, html_table, markdown_lines

FOLDED = 3  # charts of one stage that are shown; more are folded away
PUBLISHED_NOTE = (
    f"Published models: {MARK}. Source: {SOURCE}. Ours are the runs' dev scores above, each of one configuration."
)

LOSS_NOTE = "The weighted loss of each run: where objectives differ, heights do not compare."


def html_page(runs: Sequence[Run]) -> str:
    """One HTML page that needs no network and no script: verdict, scores, costs, losses and what runs differ in.

    Args:
        runs: At least one. Those that differ in nothing but the seed stand as one, with means and deviations.
    """
    entries = to_entries(runs)
    compared, published, several = runs_table(entries), published_table(entries), len(runs) > 1
    scores, costs = _model_tables(entries)
    sections = (
        html_section("runs", "Runs", _html("runs", compared) + html_list(run_notes(entries))) if several else "",
        html_section("quality", "Quality over cost", figures(quality_charts(entries), "plots")),
        html_section("scores", "Scores", scores),
        html_section("speed", "Size and speed", costs and costs + html_list(_notes(entries))),
        html_section("tasks", "Scores by task", figures(score_charts(entries)) + html_list(_bar_notes(entries))),
        html_section("published", "Beside the published scores", _html("published", published) and "\n".join(
            [_html("published", published), figures(published_charts(entries), "plots"), html_list([PUBLISHED_NOTE])])),
        html_section("losses", "Losses while training", _losses(entries)),
        html_section("cost", "Training cost", _html("cost", cost_table(entries))),
        html_section("differences", "Where the configs differ", _html("differences", differences_table(entries))),
        html_section("exports", "Exports", html_list(
            [entry.marked(note) for entry in entries for note in export_notes(entry.results)])),
    )  # fmt: skip
    return html_document(title_of(entries), summary(entries), sections)


def markdown_page(runs: Sequence[Run]) -> str:
    """The tables of `html_page` as Markdown."""
    entries = to_entries(runs)
    header, models, comparisons = results_table(entries)
    tables = [
        ("Runs", runs_table(entries), run_notes(entries)),
        ("Scores, sizes and speeds", Table(header, [[*models, *comparisons]] if models else [], {}), _notes(entries)),
        ("Beside the published scores", published_table(entries), [PUBLISHED_NOTE]),
        ("Training cost", cost_table(entries), []),
        ("Where the configs differ", differences_table(entries), []),
    ]
    lines = [f"# {title_of(entries)}", "", summary(entries), ""]
    for title, table, notes in tables:
        if table:
            rows = [row for group in table.groups for row in group]
            lines += [f"## {title}", "", *markdown_lines(table.header, rows), "", *(f"- {note}" for note in notes), ""]
    return "\n".join(lines).rstrip() + "\n"


def title_of(entries: Sequence[Entry]) -> str:
    return entries[0].title if len(entries) == 1 else f"Comparison of {len(entries)} runs"


def summary(entries: Sequence[Entry]) -> str:
    """Of one entry its verdict; of several who keeps most of its teacher and who gains most."""
    if len(entries) == 1:
        state = entries[0].runs[0].state
        return f"This run is {state}." if state else verdict(entries[0].results)
    if _differ_in_tasks(entries):
        return "The runs differ in their tasks, so that their averages do not compare."
    sentences = []
    for key, text, spec in (
        ("quality_kept", "keeps most of its teacher's average", ".1f"), ("gain", "gains most by distillation", "+.1f"),
    ):  # fmt: skip
        found = [(entry.results.get(key, {}).get("average", math.nan), entry.mark) for entry in entries]
        value, mark = max((pair for pair in found if math.isfinite(pair[0])), default=(math.nan, ""))
        if mark:
            unit = "%" if key == "quality_kept" else "points"
            sentences.append(f"Run {mark} {text} ({value:{spec}} {unit}).")
    return " ".join(sentences) or "No student was compared."


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
    return len({frozenset(entry.results["metrics"]) for entry in entries if entry.results["models"]}) > 1


def _model_tables(entries: Sequence[Entry]) -> list[str]:
    """Scores, and sizes and speeds; nothing where no model was scored."""
    header, *groups = results_table(entries)
    models = [(entry, model["role"]) for entry in entries for model in entry.results["models"]]
    classes = {entry.marked(label(role)): css_class(role) for entry, role in models}
    split = header.index("average") + 1
    return [
        html_table(name, [header[c] for c in columns], part(groups, columns), classes) if models else ""
        for name, columns in (("scores", range(split)), ("speed", (0, *range(split, len(header)))))
    ]


def _notes(entries: Sequence[Entry]) -> list[str]:
    """How the entries' numbers came to be, each sentence once."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        for note in notes_of(entry.results) if entry.results["models"] else ():
            found.setdefault(note, []).append(entry.mark)
    shared = [note for note, marks in found.items() if len(marks) == len(entries)]
    return [*shared, *(f"{', '.join(marks)}: {note}" for note, marks in found.items() if note not in shared)]


def _bar_notes(entries: Sequence[Entry]) -> list[str]:
    models = [model for entry in entries for model in entry.results["models"]]
    over = "One standard deviation over the seeds, of a single run over a task's draws, up and down."
    notes = [over] if any("deviation" in model for model in models) else []
    if any(model.get("intervals") for model in models):
        notes.append("95 % interval over the choice of dev examples (bootstrap, 1,000 resamples).")
    return [f"Error bars: {' Or: '.join(notes)}"] if notes else []


def _losses(entries: Sequence[Entry]) -> str:
    """Of one run the terms of each stage, of several the weighted loss; stages that ran for many tasks are folded."""
    runs = [(mark, run.events) for entry in entries for mark, run in entry.marked_runs]
    charts = loss_charts(runs[0][1]) if len(runs) == 1 else loss_overlays(runs)
    stages: dict[str, list[str]] = {}
    for title, chart in charts.items():
        stages.setdefault(title.partition("/")[0], []).append(chart)
    shown = [chart for found in stages.values() if len(found) <= FOLDED for chart in found]
    folded = [
        f"<details><summary>{html.escape(stage)}: {len(found)} tasks</summary>{figures(found)}</details>"
        for stage, found in stages.items()
        if len(found) > FOLDED
    ]
    note = [LOSS_NOTE] if len(runs) > 1 and charts else []
    return "\n".join(filter(None, [figures(shown), *folded, html_list(note)]))


def _html(section: str, table: Table) -> str:
    return html_table(section, table.header, table.groups, table.classes) if table else ""
