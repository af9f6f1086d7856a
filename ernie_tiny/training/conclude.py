"""The last steps of a run: scores side by side, the export with its gate, sizes and speeds."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

from ernie_tiny.config.schema import RunConfig, split_reference
from ernie_tiny.data.task import Prediction
from ernie_tiny.deploy.export import check_parity, export_model
from ernie_tiny.deploy.speed import measure, megabytes
from ernie_tiny.errors import InputError
from ernie_tiny.evaluation.metrics import agreement, majority_baseline, score
from ernie_tiny.evaluation.predict import predict
from ernie_tiny.evaluation.results import ModelResult, summarise
from ernie_tiny.models.backbone import count_embedding_parameters, count_parameters
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.training.checkpoint import whole_folder, write_text
from ernie_tiny.training.workspace import Workspace

ROLES = ("teacher", "student", "baseline")
EXPORT_FOLDER, SPEED_FOLDER, PREDICTIONS_FOLDER = "export", "speed", "predictions"
logger = logging.getLogger(__name__)


def conclude(workspace: Workspace, stages: list[dict[str, Any]]) -> dict[str, Any]:
    """The run's results: scores, agreement, exports, sizes, speeds, and what each stage cost."""
    report = workspace.run.report
    tasks = report_tasks(workspace)
    models: list[ModelResult] = []
    predictions: dict[str, dict[str, list[Prediction]]] = {}
    for role in ROLES:
        reference = getattr(report, role)
        if reference is not None:
            result, predictions[role] = _score_model(workspace, role, reference, tasks)
            models.append(result)
    exports = _export(workspace)
    _measure_speed(workspace, models, tasks)
    agreements = {}
    if "teacher" in predictions and "student" in predictions:
        agreements = {task: agreement(predictions["teacher"][task], predictions["student"][task]) for task in tasks}
    return summarise(
        name=workspace.run.name,
        models=models,
        majority={task: majority_baseline(workspace.task(task), _dev(workspace, task)) for task in tasks},
        metrics={task: workspace.task(task).metric for task in tasks},
        examples={task: len(_dev(workspace, task)) for task in tasks},
        agreement=agreements,
        exports=exports,
        stages=stages,
    )


def report_tasks(workspace: Workspace) -> tuple[str, ...]:
    """The tasks that the report compares: those named, or those of the student's (else the teacher's) stage."""
    report = workspace.run.report
    reference = report.student or report.teacher
    if report.tasks or reference is None:
        return report.tasks
    return workspace.stage_of(reference).data.tasks


def _dev(workspace: Workspace, task: str) -> Any:
    return workspace.examples(task, "dev", workspace.run.report.examples)


def _score_model(
    workspace: Workspace, role: str, reference: str, tasks: tuple[str, ...]
) -> tuple[ModelResult, dict[str, list[Prediction]]]:
    result: ModelResult
    predictions: dict[str, list[Prediction]] = {}
    for position, task in enumerate(tasks):
        model = workspace.model(reference, task)
        if position == 0:
            result = ModelResult(
                role, reference, count_parameters(model.encoder), count_embedding_parameters(model.encoder)
            )
        predictions[task] = evaluate(workspace, model, reference, task, "dev", workspace.run.report.examples)
        result.scores[task] = score(workspace.task(task), _dev(workspace, task), predictions[task])
        result.main[task] = result.scores[task][workspace.task(task).metric]
        write_predictions(workspace.folder / PREDICTIONS_FOLDER / role / f"{task}.jsonl", predictions[task])
        logger.info("%s (%s) on %s: %s", role, reference, task, result.scores[task])
    return result, predictions


def evaluate(
    workspace: Workspace, model: MultiTaskModel, reference: str, task: str, split: str, limit: Optional[int]
) -> list[Prediction]:
    """A model's predictions on a split, with the input length that its stage trained with."""
    length = workspace.stage_of(reference).data.max_length
    return predict(
        model,
        workspace.task(task),
        workspace.examples(task, split, limit),
        workspace.features(task, split, length, limit),
        workspace.tokenizer.pad_id,
        workspace.run.report.batch_tokens,
    )


def write_predictions(path: Path, predictions: list[Prediction]) -> None:
    """One JSON object a line, keyed by example id."""
    lines = (json.dumps(dataclasses.asdict(prediction), ensure_ascii=False) for prediction in predictions)
    write_text(path, "\n".join(lines) + "\n")


def _export(workspace: Workspace) -> dict[str, dict[str, Any]]:
    config = workspace.run.export
    if config.model is None:
        return {}
    exports = {}
    for task in config.tasks or workspace.stage_of(config.model).data.tasks:
        folder = workspace.folder / EXPORT_FOLDER / task
        exports[task] = export_task(workspace, config.model, task, folder)
        logger.info("%s exported to %s, logits differ by %.1e", config.model, folder, exports[task]["inference"])
    return exports


def export_task(workspace: Workspace, reference: str, task: str, folder: Path) -> dict[str, Any]:
    """Exports one model for one task and passes it through the parity gate; returns folder and differences."""
    config, spec = workspace.run.export, workspace.task(task)
    length = workspace.stage_of(reference).data.max_length or spec.max_length
    model = workspace.model(reference, task)
    model.eval()
    with whole_folder(folder) as target:
        export_model(model, spec, workspace.tokenizer, length, target)
        features = workspace.features(task, "dev", length, config.parity_examples)
        differences = check_parity(target, model, features, workspace.tokenizer.pad_id, config.tolerance)
    return {"folder": str(folder), **differences}


def _measure_speed(workspace: Workspace, models: list[ModelResult], tasks: tuple[str, ...]) -> None:
    """Fills in size and speed of teacher and student, from exports of the first task; a baseline has the student's."""
    folders = {}
    for result in models:
        if result.role != "baseline":
            folders[result.role] = workspace.folder / SPEED_FOLDER / result.role
            model = workspace.model(result.reference, tasks[0])
            spec = workspace.task(tasks[0])
            with whole_folder(folders[result.role]) as target:
                export_model(model, spec, workspace.tokenizer, spec.max_length, target)
    speeds = dict(zip(folders, measure(list(folders.values()))))
    for result in models:
        role = "student" if result.role == "baseline" and "student" in folders else result.role
        if role in folders:
            result.megabytes = megabytes(folders[role])
            result.speed = dataclasses.asdict(speeds[role])
    shutil.rmtree(workspace.folder / SPEED_FOLDER, ignore_errors=True)


def evaluate_models(
    run: RunConfig,
    models: Optional[Sequence[str]],
    tasks: Optional[Sequence[str]],
    split: str,
    examples: Optional[int],
    output: Optional[Path],
) -> Iterator[dict[str, Any]]:
    """Yields a row {model, task, examples, scores} for each task of each model; predictions go to `output`."""
    workspace = Workspace(run)
    compared = [getattr(run.report, role) for role in ROLES]
    for reference in models or [name for name in compared if name is not None]:
        stages = {stage.name for stage in run.stages}
        if split_reference(reference)[1] not in stages:
            raise InputError(f"--models {reference}: write model@stage; stages of this run: {', '.join(stages)}.")
        for task in tasks or workspace.stage_of(reference).data.tasks:
            if not workspace.model_folder(reference, task).is_dir():
                raise InputError(f"--models {reference}: no weights for {task} in {run.folder}; is the run finished?")
            model = workspace.model(reference, task)
            predictions = evaluate(workspace, model, reference, task, split, examples)
            if output is not None:
                write_predictions(output / reference / f"{task}.jsonl", predictions)
            found = workspace.examples(task, split, examples)
            scores = score(workspace.task(task), found, predictions)
            yield {"model": reference, "task": task, "examples": len(found), "scores": scores}
