"""The tasks that a run's config names, as specs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Callable, Optional

from ernie_tiny.config.schema import RunConfig, StageConfig
from ernie_tiny.config.shapes import shape_of
from ernie_tiny.data.clue import find_task
from ernie_tiny.data.task import UNLABELLED, Example, TaskSpec
from ernie_tiny.errors import InputError
from ernie_tiny.kind_facts import facts_of
from ernie_tiny.kinds.answers import Answers, Reading, read_answers, recorded_of
from ernie_tiny.kinds.read import split_reader

Examples = Callable[[str, str, Optional[int]], Sequence[Example]]  # of a task's split, so many of them


def custom_tasks(run: RunConfig) -> dict[str, TaskSpec]:
    """The user's own tasks, from data.tasks, and others with the unlabelled files that data.unlabelled gives them.

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
        for key in ("texts", "label_field"):
            if not facts.texts and getattr(spec, key) != getattr(TaskSpec, key):
                raise InputError(
                    f"data.tasks.{name}.{key} is for records whose fields have names of your own. The files of "
                    f"the kind {facts.name} have a form of their own. Take it out."
                )
        for key, values in (("labels", spec.labels), ("texts", spec.texts)):
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise InputError(f"data.tasks.{name}.{key} = {list(values)}: {twice[0]!r} stands twice.")
    for name, files in run.data.unlabelled.items():
        try:
            spec = find_task(name, specs)
        except InputError as error:
            raise InputError(f"data.unlabelled.{name}: {error}") from None
        if spec.files_of(UNLABELLED):
            raise InputError(
                f"data.unlabelled.{name}: data.tasks.{name} has unlabelled texts already. Give all files there."
            )
        specs[name] = dataclasses.replace(spec, files={**spec.files, UNLABELLED: files})
    return specs


def training_splits(stage: StageConfig, spec: TaskSpec) -> Iterator[tuple[str, Optional[int]]]:
    """The splits of a task that a stage (with the task's settings) trains on, and how many examples of each."""
    if spec.files_of("train"):
        yield "train", stage.data.examples
    if spec.files_of(UNLABELLED) and stage.reads_unlabelled:
        yield UNLABELLED, stage.data.unlabelled_examples


def task_reader(run: RunConfig, specs: Mapping[str, TaskSpec]) -> Examples:
    """What reads the splits of tasks, each once."""
    read = split_reader(specs.__getitem__, Path(run.data.root))
    return lambda task, split, limit: read(task, split, limit).examples


def stage_answers(run: RunConfig, stage: StageConfig, spec: TaskSpec, examples: Examples) -> Answers:
    """The recorded answers of a stage (with the task's settings) to a task's training examples, read and checked.

    Args:
        examples: Reads a task's split, so many of it.
    """
    assert stage.answers is not None
    reading = Reading(
        Path(run.data.root) / stage.answer_files[spec.name],
        f"stages.{stage.name}.teacher",
        stage.answers.label_smoothing,
        stage.objective.logit_mse is not None,
    )
    splits = dict(training_splits(stage, spec))
    known = {split: examples(spec.name, split, None) for split in splits}
    wanted = {split: examples(spec.name, split, limit) for split, limit in splits.items()}
    return read_answers(spec, reading, known, wanted)


def _check_rows(stage: StageConfig, specs: dict[str, TaskSpec]) -> None:
    """Raises an InputError where a stage has no rows that it can learn from, or not those that it asks for."""
    for spec in map(specs.__getitem__, stage.data.tasks if stage.data.corpus is None else ()):
        own = stage.of_task(spec.name)
        where = f"stages.{stage.name}.data.tasks: {spec.name}"
        if UNLABELLED in spec.files and not spec.files_of("train") and own.objective.hard is not None:
            raise InputError(
                f"{where} has unlabelled files alone, and hard needs labels. Give the task files.train, or learn from "
                "a teacher's answers alone: a term such as soft in place of hard."
            )
        if not list(training_splits(own, spec)):
            raise InputError(f"{where} leaves nothing to train on. Give it files.train or files.unlabelled.")
    asked = [stage.data.unlabelled_examples, *(each.unlabelled_examples for each in stage.task_settings.values())]
    if any(asked) and not any(specs[task].files_of(UNLABELLED) for task in stage.data.tasks):
        raise InputError(
            f"stages.{stage.name}.data.unlabelled_examples: no task of the stage has unlabelled texts. Name their "
            "files: data.tasks.NAME.files.unlabelled, or data.unlabelled.NAME of a built-in task."
        )


def task_specs(run: RunConfig) -> dict[str, TaskSpec]:
    """Every task of every stage, by name, in the order of the stages.

    Raises:
        InputError: a stage names a task that is neither built in nor in data.tasks, one that its model cannot
            answer, or one whose data cannot be augmented.
    """
    custom = custom_tasks(run)
    specs = {task: find_task(task, custom) for stage in run.stages for task in stage.data.tasks}
    for stage in run.own_stages:
        _check_rows(stage, specs)
    for stage in run.stages:
        for task in stage.answer_files:
            recorded_of(specs[task], f"stages.{stage.name}.teacher")
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
    return run.stage_of(reference).data.tasks
