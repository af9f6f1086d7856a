"""What a report reads of run folders, and how runs that differ in nothing but the seed become one entry."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from string import ascii_uppercase
from typing import Any

from ernie_tiny.evaluation.statistics import mean_and_deviation
from ernie_tiny.report.results import (
    COMPARISONS,
    ModelResult,
    Percents,
    Results,
    StageResult,
    TypeScore,
    TypeScores,
    fold_draws,
    mean,
    to_stages,
)

NAMES_OF_A_RUN = ("name", "output_dir", "seed")  # keys of a config that runs of one entry may differ in
Event = Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """What a run folder holds.

    Attributes:
        results: Those of results.json; of an unfinished run what `results_so_far` gives.
        events: Those of events.jsonl, oldest first; a resumed run logs some steps twice, and the later one counts.
        config: The merged config as plain data.
        state: How far an unfinished run came; "" for a finished one.
        folder: Its path.
    """

    results: Results
    events: Sequence[Event] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    state: str = ""
    folder: str = ""


@dataclass(frozen=True)
class Entry:
    """A run, or several that differ in nothing but the seed, as rows and drawings show it.

    Attributes:
        mark: The letter that stands before its rows; "" where there is one entry only.
        results: The run's, the draws of a task folded into one; of several runs the means, with their deviations.
    """

    mark: str
    runs: tuple[Run, ...]
    results: Results

    @property
    def title(self) -> str:
        seeds = f", {len(self.runs)} seeds" if len(self.runs) > 1 else ""
        return f"{self.results.name}{seeds}{' (unfinished)' if self.runs[0].state else ''}"

    def marked(self, text: str) -> str:
        return f"{self.mark} {text}".strip()

    @property
    def marked_runs(self) -> list[tuple[str, Run]]:
        """The runs with their own marks: A, or A1, A2 where the entry has several."""
        if len(self.runs) == 1:
            return [(self.mark, self.runs[0])]
        return [(f"{self.mark}{number}", run) for number, run in enumerate(self.runs, 1)]


def to_entries(runs: Iterable[Run]) -> list[Entry]:
    """The runs in their order, those that differ in nothing but the seed at the place of the first of them."""
    runs = list(runs)
    tasks = {task for run in runs for task in run.results.metrics}
    groups: dict[tuple[str, int], list[Run]] = {}
    seen: list[tuple[str, Any]] = []
    for number, run in enumerate(runs):
        kind = _kind(run) or str(number)
        seen.append((kind, run.config.get("seed")))
        groups.setdefault((kind, seen.count(seen[-1])), []).append(run)  # a second run of one seed adds no chance
    marks = [""] if len(groups) == 1 else [_mark(number) for number in range(len(groups))]
    return [Entry(mark, tuple(group), _together(group, tasks)) for mark, group in zip(marks, groups.values())]


def _kind(run: Run) -> str:
    """The same text for runs that differ in nothing but the seed; nothing for one that stands alone."""
    if run.state or not run.results.models or not run.config:
        return ""
    config = {key: value for key, value in run.config.items() if key not in NAMES_OF_A_RUN}
    rows = [run.results.metrics, [model.role for model in run.results.models]]
    return json.dumps([config, *rows], sort_keys=True)


def _mark(number: int) -> str:
    rest, letter = divmod(number, len(ascii_uppercase))
    return (_mark(rest - 1) if rest else "") + ascii_uppercase[letter]


def _together(runs: Sequence[Run], tasks: Collection[str]) -> Results:
    """The results of one run, or the means of several with their deviations; `tasks` are those of all runs."""
    first, *others = every = [fold_draws(run.results, tasks) for run in runs]
    if not others:
        return first
    models = [_mean_model(models) for models in zip(*(each.models for each in every))]
    means: dict[str, Any] = {}
    deviations: dict[str, Percents] = {}
    for name in COMPARISONS:
        if getattr(first, name):
            found: list[Percents] = [getattr(each, name) for each in every]
            means[name], deviations[name] = _means([{"average": mean(values), **values} for values in found])
    stages = [_mean_stage(parts) for parts in zip(*(each.stages for each in every))]
    return replace(first, models=models, stages=stages, deviation=deviations, **means)


def _mean_stage(parts: Sequence[StageResult]) -> StageResult:
    """Means of the costs, and of the best scores where all have one."""
    means: dict[str, Any] = _means([{"tokens": part.tokens, "seconds": part.seconds} for part in parts])[0]
    scores = [part.best_dev for part in parts if part.best_dev is not None]
    means["best_dev"] = mean_and_deviation(scores)[0] if len(scores) == len(parts) else None
    return replace(parts[0], **means)


def _mean_model(models: Sequence[ModelResult]) -> ModelResult:
    main, deviation = _means([{**model.main, "average": model.average} for model in models])
    del main["average"]
    timed = [model.speed for model in models if model.speed is not None]
    timings = [{key: getattr(speed, key) for key in ("p50", "p95", "throughput")} for speed in timed]
    timing: dict[str, Any] = _means(timings)[0] if timed else {}
    speed = models[0].speed and replace(models[0].speed, **timing)
    shared = [task for task in models[0].types if all(task in model.types for model in models)]
    types = {task: _mean_types([model.types[task] for model in models]) for task in shared}
    scored = [task for task in models[0].scores if all(task in model.scores for model in models)]
    scores = {task: _means([model.scores[task] for model in models])[0] for task in scored}
    means: dict[str, Any] = {"main": main, "scores": scores, "types": types, "speed": speed}
    return replace(models[0], **means, deviation=deviation, intervals={})


def _mean_types(runs: Sequence[TypeScores]) -> TypeScores:
    """Means over runs that were scored on the same entities."""

    def mean_of_type(lines: Sequence[TypeScore]) -> TypeScore:
        means = _means([{key: getattr(line, key) for key in ("precision", "recall", "f1")} for line in lines])[0]
        return TypeScore(lines[0].type, **means, entities=lines[0].entities)

    broken = mean_and_deviation([run.broken for run in runs])[0]
    return TypeScores([mean_of_type(lines) for lines in zip(*(run.types for run in runs))], broken)


def _means(values: Sequence[Mapping[str, float]]) -> tuple[dict[str, float], dict[str, float]]:
    """Means and standard deviations of the keys that all have."""
    shared = [key for key in values[0] if all(key in each for each in values)]
    pairs = {key: mean_and_deviation([each[key] for each in values]) for key in shared}
    return {key: pair[0] for key, pair in pairs.items()}, {key: pair[1] for key, pair in pairs.items()}


def results_so_far(name: str, events: Iterable[Event]) -> Results:
    """Results of an unfinished run: its finished stages, without a model."""
    stages = {(event["stage"], event["task"]): event for event in events if event["event"] == "stage_end"}
    return Results(name, [], {}, {}, {}, {}, {}, to_stages(list(stages.values())))


def state_so_far(events: Sequence[Event]) -> str:
    """How far an unfinished run came: "unfinished: distil, step 250 of 1,000, dev 51.2 %"."""
    begun = [number for number, event in enumerate(events) if event["event"] == "train_begin"]
    if not begun:
        return "unfinished: no step yet"
    start, since = events[begun[-1]], events[begun[-1] :]
    if any(event["event"] == "stage_end" for event in since):
        return f"unfinished: {start['stage']} is done"
    step = max(event["step"] for event in since if "step" in event)
    scores: Event = next((event for event in reversed(since) if event["event"] == "scores"), {})
    known = {key: value for key, value in scores.items() if key not in ("time", "event", "stage", "step")}
    dev = f", dev {mean(known):.1f} %" if known else ""
    return f"unfinished: {start['stage']}, step {step:,} of {start['max_steps']:,}{dev}"


def models_of(entries: Iterable[Entry]) -> list[tuple[Entry, ModelResult]]:
    return [(entry, model) for entry in entries for model in entry.results.models]


def common_tasks(entries: Sequence[Entry]) -> list[str]:
    """The tasks, with the same metric, of all entries that have scores."""
    scored = [entry.results.metrics for entry in entries if entry.results.models]
    first = scored[0] if scored else {}
    return [task for task, metric in first.items() if all(each.get(task) == metric for each in scored)]


def metrics_of(entries: Iterable[Entry]) -> list[tuple[str, str]]:
    """(task, metric) of all entries, each once, in their order."""
    return list(dict.fromkeys(pair for entry in entries for pair in entry.results.metrics.items()))
