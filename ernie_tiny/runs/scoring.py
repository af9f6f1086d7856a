"""Trained models on any split with labels: scores, how sure they are, and where the models go wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

from ernie_tiny import processes
from ernie_tiny.config.schema import RunConfig
from ernie_tiny.data.task import Prediction
from ernie_tiny.evaluation.scores import Scores, score_model
from ernie_tiny.files import to_json, write_text
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.runs.run_folders import EVALUATION_FILE
from ernie_tiny.runs.trained import features_for, trained_model, trained_tasks
from ernie_tiny.training.workspace import Workspace


def score_split(
    workspace: Workspace, model: MultiTaskModel, reference: str, task: str, split: str, limit: Optional[int]
) -> Scores:
    """The scores of model@stage on a task's split, or on `limit` of its examples, drawn by the hash of their texts."""
    examples = workspace.examples(task, split, limit)
    features = features_for(workspace, reference, task, examples)
    pad_id, batch_tokens = workspace.tokenizer.pad_id, workspace.run.report.batch_tokens
    return score_model(model, workspace.task(task), examples, features, pad_id, batch_tokens)


def write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    """One JSON object a line, keyed by example id; the main process writes."""
    lines = (to_json(prediction.record()) for prediction in predictions)
    if processes.is_main():
        write_text(path, "\n".join(lines) + "\n")


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
    {labels, counts} of classification; `worst` of reading; `types` of entities, and `broken`, the number of sequences
    of tags that do not keep to their scheme, where there is any; `agreement` {with, percent} with the report's teacher.
    Predictions go to <output>/<model@stage>/<task>.jsonl and all records to evaluation.json beside. Every process of
    a launch calls it: they share the work, and the files are those of one process, byte for byte.

    Args:
        models: model@stage; by default those of the report.
        tasks: By default those of each model's stage.
        examples: Draw only so many, by the hash of their texts.
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
    of_teacher: dict[str, Scores] = {}
    references = list(dict.fromkeys(models or report.models.values()))
    for reference in sorted(references, key=lambda name: name != report.teacher):
        for task in tasks or trained_tasks(workspace, reference):
            scores = score_split(workspace, trained_model(workspace, reference, task), reference, task, split, limit)
            record = {
                **{"model": reference, "task": task, "split": split, "examples": len(scores.examples)},
                **{"scores": scores.values, "intervals": scores.intervals(), **scores.details()},
            }
            if reference == report.teacher:
                of_teacher[task] = scores
            elif task in of_teacher:
                percent = of_teacher[task].agreement(scores)
                record["agreement"] = {"with": report.teacher, "percent": percent}
            if output is not None:
                write_predictions(output / reference / f"{task}.jsonl", scores.predictions)
            yield record
