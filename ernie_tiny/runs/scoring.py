"""Trained models on any split with labels: scores, how sure they are, and where the models go wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np

from ernie_tiny import processes
from ernie_tiny.config.schema import RunConfig
from ernie_tiny.data.task import Example, Prediction, TaskSpec
from ernie_tiny.evaluation.metrics import agreement, details, scorer
from ernie_tiny.evaluation.statistics import confidence_intervals
from ernie_tiny.files import to_json, write_text
from ernie_tiny.runs.conclude import evaluate, trained_model, trained_tasks, write_predictions
from ernie_tiny.runs.record import EVALUATION_FILE
from ernie_tiny.training.workspace import Workspace


def evaluate_models(
    run: RunConfig,
    models: Optional[Sequence[str]],
    tasks: Optional[Sequence[str]],
    split: str,
    examples: Optional[int],
    output: Optional[Path],
) -> Iterator[dict[str, Any]]:
    """Yields a record for each task of each model, the report's teacher first where it is one of them.

    Keys: model, task, split, examples (their number), scores and intervals by metric in percent; `confusion`
    {labels, counts} of classification; `worst` of reading; `agreement` {with, percent} with the report's teacher.
    Predictions go to <output>/<model@stage>/<task>.jsonl and all records to evaluation.json beside. Every process of
    a launch calls it: they share the work, and the files are those of one process, byte for byte.

    Args:
        models: model@stage; by default those of the report.
        tasks: By default those of each model's stage.
        examples: Take only the first so many.
    Raises:
        InputError: There is no such model, task or split, or the split has no labels.
    """
    with processes.Connection():
        records = []
        for record in _records(Workspace(run), models, tasks, split, examples, output):
            records.append(record)
            yield record
        if output is not None and processes.is_main():
            write_text(output / EVALUATION_FILE, to_json(records, indent=1))


def _records(
    workspace: Workspace,
    models: Optional[Sequence[str]],
    tasks: Optional[Sequence[str]],
    split: str,
    limit: Optional[int],
    output: Optional[Path],
) -> Iterator[dict[str, Any]]:
    report = workspace.run.report
    taught: dict[str, list[Prediction]] = {}
    references = list(dict.fromkeys(models or report.models.values()))
    for reference in sorted(references, key=lambda name: name != report.teacher):
        for task in tasks or trained_tasks(workspace, reference):
            spec, found = workspace.task(task), workspace.examples(task, split, limit)
            model = trained_model(workspace, reference, task)
            predictions = evaluate(workspace, model, reference, task, split, limit)
            record = {"model": reference, "task": task, "split": split, **_details(spec, found, predictions)}
            if reference == report.teacher:
                taught[task] = predictions
            elif task in taught:
                record["agreement"] = {"with": report.teacher, "percent": agreement(spec, taught[task], predictions)}
            if output is not None:
                write_predictions(output / reference / f"{task}.jsonl", predictions)
            yield record


def _details(spec: TaskSpec, examples: Sequence[Example], predictions: Sequence[Prediction]) -> dict[str, Any]:
    scores_of = scorer(spec, examples, predictions)
    return {
        "examples": len(examples),
        "scores": scores_of(np.arange(len(examples))),
        "intervals": confidence_intervals(scores_of, len(examples)),
        **details(spec, examples, predictions, scores_of),
    }
