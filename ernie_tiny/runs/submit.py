"""Trained models, in run folders or exported, answering the test splits of a leaderboard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Callable, Optional

from ernie_tiny import processes
from ernie_tiny.config.load import CONFIG_FILE, load_run
from ernie_tiny.data.clue import SUBMITTED as CLUE_SUBMITTED
from ernie_tiny.data.task import Example, Prediction, TaskSpec
from ernie_tiny.errors import InputError, offer
from ernie_tiny.evaluation.predict import predict
from ernie_tiny.kind_facts import facts_of
from ernie_tiny.leaderboard.clue import BOARDS, read_questions, split_of, write_submission
from ernie_tiny.leaderboard.glue import SUBMITTED, write_glue_submission
from ernie_tiny.runs.trained import features_for, trained_model, trained_tasks
from ernie_tiny.runtime import count_cores
from ernie_tiny.serving.exported import TASK_FILE, read_spec
from ernie_tiny.serving.predictor import Predictor
from ernie_tiny.training.workspace import Workspace


@dataclass(frozen=True)
class Leaderboard:
    """Tasks whose test splits have no labels, and the file of answers that a site scores.

    Attributes:
        tasks: By name, as the site has them.
        write: Writes the answers, by task and test split in the order of the test file, to a zip.
    """

    tasks: Mapping[str, TaskSpec]
    write: Callable[[Mapping[str, Mapping[str, Sequence[Prediction]]], Path], None]


LEADERBOARDS = {
    "clue": Leaderboard(CLUE_SUBMITTED, write_submission),
    "glue": Leaderboard(SUBMITTED, write_glue_submission),
}


@dataclass(frozen=True)
class Solver:
    """A trained model for one task.

    Attributes:
        name: model@stage, or the exported folder.
        spec: The task as the model was trained for it.
        answer: Loads the model and gives its predictions in the order of the examples.
    """

    name: str
    spec: TaskSpec
    answer: Callable[[Sequence[Example]], list[Prediction]]


def submit(
    folders: Sequence[Path],
    root: Path,
    target: Path,
    leaderboard: str = "clue",
    clue_splits: Sequence[str] = BOARDS[:1],
    tasks: Optional[Sequence[str]] = None,
    reference: Optional[str] = None,
    threads: int = 0,
) -> Iterator[str]:
    """Writes the bundle; yields a line for each test split: by what it was answered, or why it is left out.

    Args:
        folders: Run folders and folders of exported models.
        root: The data root; the files of the test splits are read as the leaderboard has them.
        leaderboard: Of LEADERBOARDS.
        clue_splits: Of BOARDS; GLUE has no such choice.
        tasks: Of the leaderboard; all by default.
        reference: model@stage of the run folders; by default their report's student, or what they export.
        threads: Of an exported model; 0 takes every core.
    Raises:
        InputError: A folder holds no model, two answer one task, one answers with other labels than the board has,
            or no test split can be answered.
    """
    with processes.Connection():
        board = LEADERBOARDS[leaderboard]
        specs = [_official(board, task) for task in tasks or board.tasks]
        solvers = _find_solvers(folders, reference, threads or count_cores(), specs)
        predictions: dict[str, dict[str, list[Prediction]]] = {}
        for spec in specs:
            splits = [split_of(spec, split) for split in clue_splits] if leaderboard == "clue" else spec.submission
            for split in dict.fromkeys(splits):
                reason = _hindrance(spec, split, root, solvers.get(spec.name))
                if reason is not None:
                    yield f"{spec.submission[split]:<26} left out: {reason}"
                    continue
                solver = solvers[spec.name]
                answers = solver.answer(read_questions(spec, root, split))
                predictions.setdefault(spec.name, {})[split] = answers
                yield f"{spec.submission[split]:<26} {len(answers):,} examples answered by {solver.name}"
        if not predictions:
            raise InputError("No test split can be answered, so nothing was written.")
        if processes.is_main():
            board.write(predictions, target)


def _official(board: Leaderboard, task: str) -> TaskSpec:
    if task not in board.tasks:
        raise InputError(f"--tasks {task}: is no task of the leaderboard. {offer(task, board.tasks)}")
    return board.tasks[task]


def _hindrance(spec: TaskSpec, split: str, root: Path, solver: Optional[Solver]) -> Optional[str]:
    """Why a split cannot be answered; None if it can."""
    if solver is None:
        return f"no model answers {spec.name}"
    absent = [root / file for file in spec.files[split] if not (root / file).is_file()]
    return f"{absent[0]} is not there" if absent else None


def _find_solvers(
    folders: Sequence[Path], reference: Optional[str], threads: int, specs: Sequence[TaskSpec]
) -> dict[str, Solver]:
    """The folders' models for the tasks of these specs, by task; none is loaded yet."""
    solvers: dict[str, Solver] = {}
    officials = {spec.name: spec for spec in specs}
    for folder in folders:
        for solver in _solvers_in(folder, reference, threads):
            official = officials.get(solver.spec.name)
            if official is None:
                continue
            if official.name in solvers:
                raise InputError(
                    f"--models: {official.name} is answered by {solvers[official.name].name} and by "
                    f"{solver.name}. Give one of them."
                )
            if (
                set(solver.spec.labels) != set(official.labels)
                or facts_of(solver.spec.kind).form != facts_of(official.kind).form
            ):
                raise InputError(
                    f"{solver.name}: answers {official.name} with the labels {list(solver.spec.labels)}, "
                    f"and the leaderboard has {list(official.labels)}. Leave it out, or name its task "
                    "otherwise."
                )
            solvers[official.name] = solver
    return solvers


def _solvers_in(folder: Path, reference: Optional[str], threads: int) -> Iterator[Solver]:
    if (folder / CONFIG_FILE).is_file():
        run = load_run(folder)
        reference = reference or run.report.student or run.export.model
        if reference is None:
            raise InputError(f"{folder}: its config names no report.student and no export.model. Give --reference.")
        workspace = Workspace(run)
        for task in trained_tasks(workspace, reference):
            yield Solver(reference, workspace.task(task), partial(_answer_of_run, workspace, reference, task))
    elif (folder / TASK_FILE).is_file():
        yield Solver(str(folder), read_spec(folder), lambda examples: Predictor(folder, threads).predict(examples))
    else:
        raise InputError(
            f"{folder}: is neither a run's folder (it has no {CONFIG_FILE}) nor an exported model (no {TASK_FILE})."
        )


def _answer_of_run(workspace: Workspace, reference: str, task: str, examples: Sequence[Example]) -> list[Prediction]:
    model, features = trained_model(workspace, reference, task), features_for(workspace, reference, task, examples)
    pad_id, batch_tokens = workspace.tokenizer.pad_id, workspace.run.report.batch_tokens
    return predict(model, workspace.task(task), examples, features, pad_id, batch_tokens)
