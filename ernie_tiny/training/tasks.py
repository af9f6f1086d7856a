"""The tasks that a run's config names, as specs."""

from __future__ import annotations

import dataclasses

from ernie_tiny.config.schema import RunConfig, split_reference
from ernie_tiny.config.shapes import shape_of
from ernie_tiny.data.clue import find_task
from ernie_tiny.data.task import TaskSpec
from ernie_tiny.errors import InputError
from ernie_tiny.kind_facts import facts_of


def custom_tasks(run: RunConfig) -> dict[str, TaskSpec]:
    """The user's own tasks, from data.tasks.

    Raises:
        InputError: names the task's key whose value no task can have.
    """
    specs = {
        name: TaskSpec(name=name, **{item.name: getattr(task, item.name) for item in dataclasses.fields(task)})
        for name, task in run.data.tasks.items()
    }
    for name, spec in specs.items():
        facts = facts_of(spec.kind)
        if facts.texts and len(spec.texts) not in facts.texts:
            raise InputError(
                f"data.tasks.{name}.texts = {list(spec.texts)}: the kind {facts.name} has "
                f"{' or '.join(map(str, facts.texts))}. Name the fields of a record that hold them."
            )
        twice = sorted({label for label in spec.labels if spec.labels.count(label) > 1})
        if twice:
            raise InputError(f"data.tasks.{name}.labels = {list(spec.labels)}: {twice[0]!r} stands twice.")
    return specs


def run_tasks(run: RunConfig) -> dict[str, TaskSpec]:
    """Every task of every stage, by name, in the order of the stages.

    Raises:
        InputError: a stage names a task that is neither built in nor in data.tasks, one that its model cannot
            answer, or one whose data cannot be augmented.
    """
    custom = custom_tasks(run)
    specs = {task: find_task(task, custom) for stage in run.stages for task in stage.data.tasks}
    for stage in run.stages:
        recurrent = [name for name in stage.trained if getattr(shape_of(run.models[name]), "recurrent", False)]
        for task in stage.data.tasks if recurrent else ():
            reason = facts_of(specs[task].kind).not_recurrent
            if reason:
                raise InputError(
                    f"stages.{stage.name}.data.tasks: {recurrent[0]} is recurrent and cannot answer {task}: {reason}. "
                    "Leave the task out or train a Transformer."
                )
        for task in stage.task_settings:  # the stage may run a part of the tasks that it has settings for
            find_task(task, custom)
        for task in stage.data.tasks if stage.data.augment is not None else ():
            spoiled = facts_of(specs[task].kind).not_augmented
            if spoiled:
                raise InputError(
                    f"stages.{stage.name}.data.augment: {task} cannot be augmented: replaced tokens would spoil "
                    f"{spoiled}. Leave the task out, or the augmentation."
                )
    return specs


def report_tasks(run: RunConfig) -> tuple[str, ...]:
    """The tasks that the report compares: those named, or those of the student's (else the first model's) stage."""
    reference = run.report.first
    if run.report.tasks or reference is None:
        return run.report.tasks
    stage_name = split_reference(reference)[1]
    assert stage_name is not None
    return run.stage(stage_name).data.tasks
