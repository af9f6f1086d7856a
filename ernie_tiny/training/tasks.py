"""The tasks that a run's config names, as specs."""

from __future__ import annotations

import dataclasses

from ernie_tiny.config.schema import RunConfig
from ernie_tiny.data.clue import find_task
from ernie_tiny.data.task import TaskSpec


def custom_tasks(run: RunConfig) -> dict[str, TaskSpec]:
    """The user's own tasks, from data.tasks."""
    return {
        name: TaskSpec(name=name, **{item.name: getattr(task, item.name) for item in dataclasses.fields(task)})
        for name, task in run.data.tasks.items()
    }


def run_tasks(run: RunConfig) -> dict[str, TaskSpec]:
    """Every task of every stage, by name, in the order of the stages.

    Raises:
        InputError: a stage names a task that is neither built in nor in data.tasks.
    """
    custom = custom_tasks(run)
    return {task: find_task(task, custom) for stage in run.stages for task in stage.data.tasks}
