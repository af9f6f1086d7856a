"""The models that a run has trained, and their answers with the input length that their stage trained with."""

from __future__ import annotations

from collections.abc import Sequence

from ernie_tiny.batch import Feature
from ernie_tiny.data.task import Example
from ernie_tiny.errors import InputError, offer
from ernie_tiny.kinds.ask import featurise
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.runs.references import check_models
from ernie_tiny.training.workspace import Workspace


def trained_tasks(workspace: Workspace, reference: str) -> tuple[str, ...]:
    """The tasks of the stage that model@stage names.

    Raises:
        InputError: The run has no such stage, or it trains no such model.
    """
    check_models(workspace.run, [reference])
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


def trained_length(workspace: Workspace, reference: str, task: str) -> int:
    """Tokens of the longest input of the task that model@stage was trained with."""
    return workspace.stage_of(reference, task).data.max_length or workspace.task(task).max_length


def features_for(workspace: Workspace, reference: str, task: str, examples: Sequence[Example]) -> list[Feature]:
    """The features of examples as model@stage was trained to read them."""
    return featurise(workspace.task(task), examples, workspace.tokenizer, trained_length(workspace, reference, task))
