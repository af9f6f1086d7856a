"""What a run comes to: its models scored side by side, exported and timed."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ernie_tiny import processes
from ernie_tiny.evaluation.scores import Scores
from ernie_tiny.kinds.registry import kind_named
from ernie_tiny.models.backbone import count_embedding_parameters, count_parameters
from ernie_tiny.report.results import (
    ModelResult,
    Results,
    TypeScore,
    TypeScores,
    compare,
    from_record,
    to_record,
    to_stages,
)
from ernie_tiny.runs.export import export_run, measure_speeds
from ernie_tiny.runs.run_folders import PREDICTIONS_FOLDER
from ernie_tiny.runs.scoring import score_split, write_predictions
from ernie_tiny.training.tasks import report_tasks
from ernie_tiny.training.workspace import Workspace

logger = logging.getLogger(__name__)


def take_results(workspace: Workspace, stages: Sequence[Mapping[str, Any]]) -> Results:
    """Scores, agreement, exports, sizes and speeds of the models that the report compares, and what each stage took."""
    scores = {role: _score(workspace, role, reference) for role, reference in workspace.run.report.models.items()}
    return from_record(processes.from_main(lambda: to_record(_compared(workspace, stages, scores))))


def _score(workspace: Workspace, role: str, reference: str) -> dict[str, Scores]:
    """By task, on dev; the predictions are written."""
    scores = {}
    for task in report_tasks(workspace.run):
        limit, model = workspace.run.report.examples, workspace.model(reference, task)
        scores[task] = score_split(workspace, model, reference, task, "dev", limit)
        write_predictions(workspace.folder / PREDICTIONS_FOLDER / role / f"{task}.jsonl", scores[task].predictions)
        logger.info("%s (%s) on %s: %s", role, reference, task, scores[task].values)
    return scores


def _compared(
    workspace: Workspace, stages: Sequence[Mapping[str, Any]], scores: Mapping[str, Mapping[str, Scores]]
) -> Results:
    tasks = report_tasks(workspace.run)
    models = [
        _model_result(workspace, role, reference, scores[role])
        for role, reference in workspace.run.report.models.items()
    ]
    if models:
        measure_speeds(workspace, models, tasks[0])
    first = next(iter(scores.values()), {})
    agreements = {}
    if "teacher" in scores and "student" in scores:
        agreements = {task: scores["teacher"][task].agreement(scores["student"][task]) for task in tasks}
    results = compare(
        Results(
            name=workspace.run.name,
            models=models,
            majority={
                task: majority(each.spec, each.examples)
                for task, each in first.items()
                if (majority := kind_named(each.spec.kind).majority)
            },
            metrics={task: each.spec.metric for task, each in first.items()},
            examples={task: len(each.examples) for task, each in first.items()},
            agreement=agreements,
            exports={},
            stages=to_stages(stages),
        )
    )
    return dataclasses.replace(results, exports=export_run(workspace, results))


def _model_result(workspace: Workspace, role: str, reference: str, scores: Mapping[str, Scores]) -> ModelResult:
    encoder = workspace.model(reference, next(iter(scores))).encoder
    return ModelResult(
        role,
        reference,
        count_parameters(encoder),
        count_embedding_parameters(encoder),
        scores={task: dict(each.values) for task, each in scores.items()},
        main={task: each.main for task, each in scores.items()},
        intervals={task: each.intervals() for task, each in scores.items()},
        types={
            task: TypeScores([TypeScore(**line) for line in types], each.broken)
            for task, each in scores.items()
            if (types := each.by_type())
        },
    )
