"""What a command line names, looked up before anything is loaded: paths, models of a run, tasks and splits."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Optional

from ernie_tiny.config.schema import RunConfig, split_reference
from ernie_tiny.data.clue import find_task
from ernie_tiny.errors import InputError, offer
from ernie_tiny.files import MANIFEST, unlisted
from ernie_tiny.kind_facts import HEADS_FILE
from ernie_tiny.training.tasks import custom_tasks

LONGEST_NAME = 255  # bytes of a file's name on most file systems


def check_input(option: str, path: Path) -> None:
    """Raises an InputError unless there is a file, or a pipe, that may be read."""
    if not os.path.exists(path):
        raise InputError(f"{option} {path}: no such file. Mend the path.")
    if path.is_dir():
        raise InputError(f"{option} {path}: is a folder, and a file is due. Name a file in it.")
    if not os.access(path, os.R_OK):
        raise InputError(f"{option} {path}: may not be read. ls -l shows who may.")


def check_output_folder(option: str, folder: Path) -> None:
    """Raises an InputError unless the folder is there or can be made."""
    long = next((part for part in folder.parts if len(os.fsencode(part)) > LONGEST_NAME), None)
    if long is not None:
        raise InputError(f"{option} {long[:40]}...: is longer than the {LONGEST_NAME} bytes that a name may have.")
    above = next(one for one in (folder, *folder.absolute().parents) if os.path.lexists(one))
    if not above.is_dir():
        raise InputError(f"{option} {folder}: a folder is due, and {above} is none. Name a folder.")
    if not os.access(above, os.W_OK | os.X_OK):
        raise InputError(f"{option} {folder}: {above} may not be written to. ls -ld shows who may.")


def replaceable(option: str, folder: Path, *signs: str) -> Path:
    """The folder's own path, of one that can be made and whose content may be removed.

    Args:
        signs: Files that it holds if that command wrote it, and no heads.json, as a trained model has. With MANIFEST
            among them it holds nothing else than what this names.
    Raises:
        InputError: it cannot be made, or holds what the same command did not write.
    """
    check_output_folder(option, folder)
    folder = folder.resolve()
    if not folder.is_dir() or not any(folder.iterdir()):
        return folder
    written = all((folder / sign).is_file() for sign in signs) and not (folder / HEADS_FILE).exists()
    if not written or (MANIFEST in signs and unlisted(folder)):
        raise InputError(
            f"{option} {folder}: holds files of another origin, which would be removed. Name a folder that is new or "
            "empty, or one that the same command wrote."
        )
    return folder


def check_output_file(option: str, file: Path) -> None:
    """Raises an InputError unless the file can be written."""
    if file.is_dir():
        raise InputError(f"{option} {file}: is a folder, and a file is due. Name a file in it.")
    check_output_folder(option, file.parent if file.is_file() else file)  # which would be made where the file will be


def check_models(run: RunConfig, references: Iterable[str]) -> None:
    """Raises an InputError where a reference names no stage of the run, or a model that the stage does not train."""
    stages = [stage.name for stage in run.stages]
    for reference in references:
        model, stage = split_reference(reference)
        if stage not in stages:
            raise InputError(f"{reference}: write model@stage; stages of this run: {', '.join(stages)}.")
        trained = run.stage(stage).trained
        if model not in trained:
            raise InputError(f"{reference}: stage {stage} trains no model {model!r}. {offer(model, trained)}")


def check_tasks(run: RunConfig, reference: str, tasks: Sequence[str], split: Optional[str] = None) -> None:
    """Raises an InputError where there is no such task, or model@stage is of other tasks, or it has no such split."""
    custom, stage = custom_tasks(run), run.stage_of(reference)
    for task in tasks:
        spec = find_task(task, custom)
        if stage.per_task and task not in stage.data.tasks:
            raise InputError(f"{reference}: was not trained on {task}. {offer(task, stage.data.tasks)}")
        splits = [*spec.files, *spec.held_out]
        if split is not None and split not in splits:
            raise InputError(f"{task} has no split {split!r}. {offer(split, splits)}")
