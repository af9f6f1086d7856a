"""The last steps of a run: scores side by side, the export with its gate, sizes and speeds."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np

from ernie_tiny import processes
from ernie_tiny.config.schema import split_reference
from ernie_tiny.data.task import Example, Prediction
from ernie_tiny.engine_facts import forms
from ernie_tiny.errors import InputError, offer
from ernie_tiny.evaluation.metrics import agreement, majority_baseline, scorer
from ernie_tiny.evaluation.predict import predict
from ernie_tiny.evaluation.statistics import confidence_intervals
from ernie_tiny.files import to_json, whole_folder, write_text
from ernie_tiny.kinds.ask import featurise
from ernie_tiny.models.backbone import count_embedding_parameters, count_parameters, usable_positions
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.report.card import CARD_FILE, Export, Gate, model_card
from ernie_tiny.report.results import ModelResult, Results, Speed, compare, from_record, to_record, to_stages
from ernie_tiny.runs.int8 import check_int8
from ernie_tiny.runs.record import PREDICTIONS_FOLDER
from ernie_tiny.serving.export import PADDLE, check_parity, export_model, require_bfloat16
from ernie_tiny.serving.speed import measure, megabytes
from ernie_tiny.training.tasks import report_tasks
from ernie_tiny.training.workspace import Workspace

SPEED_LENGTH = 64  # tokens of the inputs that are timed, less where a model has fewer positions
EXPORT_FOLDER, SPEED_FOLDER = "export", "speed"
logger = logging.getLogger(__name__)


def conclude(workspace: Workspace, stages: list[dict[str, Any]]) -> Results:
    """The run's results: scores, agreement, exports, sizes, speeds, and what each stage cost."""
    report = workspace.run.report
    tasks = report_tasks(workspace.run)
    models: list[ModelResult] = []
    predictions: dict[str, dict[str, list[Prediction]]] = {}
    for role, reference in report.models.items():
        result, predictions[role] = _score_model(workspace, role, reference, tasks)
        models.append(result)
    record = processes.from_main(lambda: to_record(_summary(workspace, stages, tasks, models, predictions)))
    return from_record(record)


def _summary(
    workspace: Workspace,
    stages: list[dict[str, Any]],
    tasks: tuple[str, ...],
    models: list[ModelResult],
    predictions: dict[str, dict[str, list[Prediction]]],
) -> Results:
    _measure_speed(workspace, models, tasks)
    agreements = {}
    if "teacher" in predictions and "student" in predictions:
        agreements = {
            task: agreement(workspace.task(task), predictions["teacher"][task], predictions["student"][task])
            for task in tasks
        }
    results = Results(
        name=workspace.run.name,
        models=models,
        majority={task: majority_baseline(workspace.task(task), _dev(workspace, task)) for task in tasks},
        metrics={task: workspace.task(task).metric for task in tasks},
        examples={task: len(_dev(workspace, task)) for task in tasks},
        agreement=agreements,
        exports={},
        stages=to_stages(stages),
    )
    results = compare(results)
    return dataclasses.replace(results, exports=_export(workspace, results))


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
        examples = _dev(workspace, task)
        scores_of = scorer(workspace.task(task), examples, predictions[task])
        result.scores[task] = scores_of(np.arange(len(examples)))
        result.intervals[task] = confidence_intervals(scores_of, len(examples))
        result.main[task] = result.scores[task][workspace.task(task).metric]
        write_predictions(workspace.folder / PREDICTIONS_FOLDER / role / f"{task}.jsonl", predictions[task])
        logger.info("%s (%s) on %s: %s", role, reference, task, result.scores[task])
    return result, predictions


def evaluate(
    workspace: Workspace, model: MultiTaskModel, reference: str, task: str, split: str, limit: Optional[int]
) -> list[Prediction]:
    """A model's predictions on a split, with the input length that its stage trained with."""
    return answer_examples(workspace, model, reference, task, workspace.examples(task, split, limit))


def answer_examples(
    workspace: Workspace, model: MultiTaskModel, reference: str, task: str, examples: Sequence[Example]
) -> list[Prediction]:
    """A model's predictions in the order of the examples, with the input length that its stage trained with."""
    spec = workspace.task(task)
    length = workspace.stage_of(reference, task).data.max_length or spec.max_length
    features = featurise(spec, examples, workspace.tokenizer, length)
    return predict(model, spec, examples, features, workspace.tokenizer.pad_id, workspace.run.report.batch_tokens)


def write_predictions(path: Path, predictions: list[Prediction]) -> None:
    """One JSON object a line, keyed by example id; the main process writes."""
    lines = (to_json(dataclasses.asdict(prediction)) for prediction in predictions)
    if processes.is_main():
        write_text(path, "\n".join(lines) + "\n")


def _export(workspace: Workspace, results: Results) -> dict[str, dict[str, Any]]:
    config = workspace.run.export
    if config.model is None:
        return {}
    exports = {}
    for task in config.tasks or workspace.stage_of(config.model).data.tasks:
        folder = workspace.folder / EXPORT_FOLDER / task
        exports[task] = export_task(workspace, config.model, task, folder, results)
        logger.info("%s exported to %s, logits differ by %.1e", config.model, folder, exports[task]["inference"])
    return exports


def export_task(
    workspace: Workspace, reference: str, task: str, folder: Path, results: Optional[Results]
) -> dict[str, Any]:
    """Exports one model for one task, with a card, through the parity gate; returns folder and differences.

    Args:
        results: The run's, for the card; None for a run that is not finished.
    """
    config, spec = workspace.run.export, workspace.task(task)
    length = workspace.stage_of(reference, task).data.max_length or spec.max_length
    model = trained_model(workspace, reference, task)
    model.eval()
    with whole_folder(folder) as target:
        own = list(dict.fromkeys([PADDLE, *forms(config.engines, config.precisions)]))  # the others are made of it
        require_bfloat16(own)
        export_model(model, spec, workspace.tokenizer, length, target, own)
        features = workspace.features(task, "dev", length, config.parity_examples)
        differences = check_parity(target, model, features, workspace.tokenizer.pad_id, config.tolerance, own)
        int8 = check_int8(workspace, task, target, own)
        card = Export(
            workspace.run, reference, dataclasses.replace(spec, max_length=length), count_parameters(model.encoder),
            count_embedding_parameters(model.encoder), results, megabytes(target),
            Gate(differences, len(features), config.tolerance),
        )  # fmt: skip
        (target / CARD_FILE).write_text(model_card(card), encoding="utf-8")
    return {"folder": str(folder), **differences, **({"int8": int8} if int8 else {})}


def _measure_speed(workspace: Workspace, models: list[ModelResult], tasks: tuple[str, ...]) -> None:
    """Fills in sizes and speeds, from exports of the first task; a baseline has the student's."""
    folders = {}
    length = SPEED_LENGTH
    for result in models:
        if result.role != "baseline":
            folders[result.role] = workspace.folder / SPEED_FOLDER / result.role
            model = workspace.model(result.reference, tasks[0])
            length = min(length, usable_positions(model.encoder) or length)
            spec = workspace.task(tasks[0])
            with whole_folder(folders[result.role]) as target:
                export_model(model, spec, workspace.tokenizer, spec.max_length, target)
    speeds = dict(zip(folders, measure(list(folders.values()), length)))
    for result in models:
        role = "student" if result.role == "baseline" and "student" in folders else result.role
        if role in folders:
            result.megabytes = megabytes(folders[role])
            result.speed = Speed(**dataclasses.asdict(speeds[role]))
    shutil.rmtree(workspace.folder / SPEED_FOLDER, ignore_errors=True)


def trained_tasks(workspace: Workspace, reference: str) -> tuple[str, ...]:
    """The tasks of the stage that model@stage names.

    Raises:
        InputError: The run has no such stage.
    """
    stages = [stage.name for stage in workspace.run.stages]
    if split_reference(reference)[1] not in stages:
        raise InputError(f"{reference}: write model@stage; stages of this run: {', '.join(stages)}.")
    return workspace.stage_of(reference).data.tasks


def trained_model(workspace: Workspace, reference: str, task: str) -> MultiTaskModel:
    """The model of model@stage that answers a task.

    Raises:
        InputError: The run has no such stage, or it is not finished, or the model has no head for the task.
    """
    trained_tasks(workspace, reference)
    model = workspace.model(reference, task)
    if task not in model.head_specs:
        raise InputError(f"{reference}: has no head for {task}. {offer(task, model.head_specs)}")
    return model
