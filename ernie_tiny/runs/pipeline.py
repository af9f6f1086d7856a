"""A run from its config to its results: the one place that knows the order of things."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Optional

from ernie_tiny import processes
from ernie_tiny.config.schema import RunConfig
from ernie_tiny.errors import InputError, offer
from ernie_tiny.files import write_record, write_text
from ernie_tiny.report.page import report_page
from ernie_tiny.report.results import Results, to_record
from ernie_tiny.report.summary import text_table
from ernie_tiny.runs.changes import write_config
from ernie_tiny.runs.inputs import guard_inputs
from ernie_tiny.runs.lock import run_lock
from ernie_tiny.runs.machine import check_engines_installed, check_machine
from ernie_tiny.runs.model_points import write_models
from ernie_tiny.runs.plan import ready_data
from ernie_tiny.runs.preflight import check_run
from ernie_tiny.runs.results import take_results
from ernie_tiny.runs.run_folders import REPORT_FILE, RESULTS_FILE, finished_run, read_results
from ernie_tiny.training.checkpoint import STAGE_RESULT_FILE
from ernie_tiny.training.interruption import Interruption
from ernie_tiny.training.stage import cache_stage, run_stage
from ernie_tiny.training.workspace import Workspace

logger = logging.getLogger(__name__)


def run_pipeline(run: RunConfig) -> None:
    """Runs every stage that is not finished, then scores, exports and reports. Safe to repeat after a crash.

    Every process of a launch calls it: they train and score together, and the main process alone reads and writes
    what the others wait for.

    Raises:
        SystemExit: SIGTERM or SIGINT came (Interruption).
    """
    with _session(run) as interruption:
        workspace = _open(run)
        if workspace is None:
            return
        stages: list[dict[str, Any]] = []
        for stage in run.stages:
            for task in stage.parts:
                stages.append(run_stage(workspace, stage, task, interruption))
        results = take_results(workspace, stages)
        processes.from_main(lambda: _end(run, workspace.folder, results))


def prepare_run(run: RunConfig) -> None:
    """Checks the data and makes the vocabulary and general text of a run ahead of it, where they are not there."""
    with _session(run):
        _open(run)


def cache_teacher(run: RunConfig, name: str) -> None:
    """Writes the cache of a stage's teacher ahead of the stage, for each of its tasks where it runs per task.

    Raises:
        InputError: there is no such stage, it has no cache, or a stage that it needs is not finished.
    """
    if name not in {stage.name for stage in run.stages}:
        raise InputError(f"--stage {name}: {run.name} has no such stage. {offer(name, [s.name for s in run.stages])}")
    stage = run.stage(name)
    if stage.cache is None or not stage.teachers:
        missing = "teacher" if not stage.teachers else "cache"
        raise InputError(
            f"stages.{name}.{missing}: is missing, so there is nothing to write. Give the stage a teacher "
            f"and a cache, as in stages.{name}.cache={{precision: float16}}, here and when it is trained."
        )
    with _session(run):
        workspace = _open(run)
        if workspace is None:
            return
        for task in stage.parts:
            if (workspace.stage_folder(stage, task) / STAGE_RESULT_FILE).is_file():
                logger.info("%s: is finished and needs no cache", stage.title(task))
            else:
                cache_stage(workspace, stage, task)


@contextmanager
def _session(run: RunConfig) -> Iterator[Interruption]:
    """A block that signals end in order, in which the processes reach each other and have the folder for themselves."""
    check_machine(run)
    check_engines_installed(run)
    lock = run_lock(Path(run.folder)) if processes.is_main() else nullcontext()
    with Interruption() as interruption, processes.Connection(), lock:
        yield interruption


def _open(run: RunConfig) -> Optional[Workspace]:
    """The run's workspace, its data checked and its vocabulary and general text made; None for a finished run."""
    if not processes.from_main(lambda: _begin(run, Path(run.folder))):
        return None
    workspace = Workspace(run)
    check_run(run, workspace.examples, lambda: workspace.tokenizer)
    workspace.prepare()
    return workspace


def _begin(run: RunConfig, folder: Path) -> bool:
    """Whether there is something to do."""
    write_config(run, folder)
    results = read_results(folder)
    if results is not None:
        print(text_table(results))
        print(f"All stages of {run.name} are done; results in {folder}. Remove the folder to run it again.")
        return False
    ready_data(run)
    guard_inputs(run, folder)
    return True


def _end(run: RunConfig, folder: Path, results: Results) -> None:
    write_text(folder / REPORT_FILE, report_page([finished_run(folder, results)]).html())
    if run.runtime.visualdl:
        write_models(folder, results)
    write_record(folder / RESULTS_FILE, to_record(results))
    if results.models:
        print(text_table(results))
    print(f"Report: {folder / REPORT_FILE}")
