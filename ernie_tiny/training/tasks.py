"""The tasks that a run's config names, as specs."""

from __future__ import annotations

import dataclasses

from ernie_tiny.config.schema import RunConfig, split_reference
from ernie_tiny.config.shapes import shape_of
from ernie_tiny.data.clue import find_task
from ernie_tiny.data.task import TaskSpec
from ernie_tiny.errors import InputError

TEXTS_OF_KIND = {
    "classification": (1,), "pair": (2,), "keywords": (2,), "coreference": (1,), "regression": (1, 2),
}  # fmt: skip

SPOILED_BY_REPLACED_TOKENS = {
    "reading": "its spans, whose offsets point into the text",
    "coreference": "the marks in the text that show which two spans are meant",
}


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
        counts = TEXTS_OF_KIND.get(spec.kind, (len(spec.texts),))
        if len(spec.texts) not in counts:
            raise InputError(
                f"data.tasks.{name}.texts = {list(spec.texts)}: the kind {spec.kind} has "
                f"{' or '.join(map(str, counts))}. Name the fields of a record that hold them."
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
        spans = [task for task in stage.data.tasks if specs[task].head == "span"]
        unable = [name for name in stage.trained if getattr(shape_of(run.models[name]), "recurrent", False)]
        if spans and unable:
            raise InputError(
                f"stages.{stage.name}.data.tasks: {spans[0]} asks for spans, and {unable[0]} is a BiLSTM: its tokens "
                "are not compared with the question. Leave the task out or train a Transformer."
            )
        for task in stage.task_settings:  # the stage may run a part of the tasks that it has settings for
            find_task(task, custom)
        for task in stage.data.tasks if stage.data.augment is not None else ():
            if specs[task].kind in SPOILED_BY_REPLACED_TOKENS:
                raise InputError(
                    f"stages.{stage.name}.data.augment: {task} cannot be augmented: replaced tokens would spoil "
                    f"{SPOILED_BY_REPLACED_TOKENS[specs[task].kind]}. Leave the task out, or the augmentation."
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
