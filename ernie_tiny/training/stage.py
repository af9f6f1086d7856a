"""Runs one stage: one model, some data, an objective, with or without a teacher."""

from __future__ import annotations

import logging
import shutil
import zlib
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Optional

import paddle
from safetensors.numpy import load_file, save_file

from ernie_tiny import processes
from ernie_tiny.batch import Array, Feature
from ernie_tiny.config.schema import StageConfig, split_reference
from ernie_tiny.data.sampling import TaskStream
from ernie_tiny.data.task import UNLABELLED
from ernie_tiny.distill.objective import Objective
from ernie_tiny.distill.teacher import Teacher
from ernie_tiny.distill.terms import Side, side_of
from ernie_tiny.errors import InputError
from ernie_tiny.evaluation.scores import score_model
from ernie_tiny.files import read_record, whole_folder, write_record
from ernie_tiny.kinds.ask import add_head
from ernie_tiny.kinds.registry import kind_named
from ernie_tiny.models.backbone import (
    append_layers,
    count_embedding_parameters,
    count_parameters,
    drop_layers,
)
from ernie_tiny.models.multitask import MultiTaskModel, save_model
from ernie_tiny.training.callbacks import StageLog
from ernie_tiny.training.checkpoint import BEST, CHECKPOINT, STAGE_RESULT_FILE, latest_checkpoint, prune_checkpoints
from ernie_tiny.training.curves import StageCurves
from ernie_tiny.training.flops import input_length, stage_flops
from ernie_tiny.training.held_out import masked_token_quality
from ernie_tiny.training.interruption import Interruption
from ernie_tiny.training.loop import LoopSettings, StageLoop
from ernie_tiny.training.network import StageNetwork
from ernie_tiny.training.size_guard import Size, size_warnings
from ernie_tiny.training.streams import BatchStream, corpus_stream, task_stream, training_examples
from ernie_tiny.training.teachers import CACHE_FOLDER, ByTask, Lesson, connect_teacher, load_teachers, recorded_teacher
from ernie_tiny.training.used_rows import used_ids
from ernie_tiny.training.workspace import Workspace

PROJECTIONS_FILE = "projections.safetensors"  # beside the model, for a stage that goes on from it
logger = logging.getLogger(__name__)


def run_stage(
    workspace: Workspace, stage: StageConfig, task: Optional[str], interruption: Interruption
) -> dict[str, Any]:
    """Trains a stage, or one task of a stage that runs per task, and returns its result record.

    A finished stage is not run again; an unfinished one goes on from its last whole checkpoint.

    Raises:
        SystemExit: the interruption was received, and a checkpoint is saved.
    """
    folder, stage = workspace.stage_folder(stage, task), stage.of_task(task)
    finished = processes.from_main(lambda: _read_result(folder))
    if finished is not None:
        if stage.taken_from is None:
            processes.from_main(lambda: _remove_leftovers(folder))
        return finished
    if stage.taken_from is not None:
        raise InputError(f"base_run = {stage.taken_from}: its stage {stage.name} is not finished ({folder}).")
    # Optimizer state is keyed by names that Paddle numbers; under a guard they are the same in every process.
    with paddle.utils.unique_name.guard():
        return _train(workspace, stage, task, folder, interruption)


def cache_stage(workspace: Workspace, stage: StageConfig, task: Optional[str] = None) -> None:
    """Writes the cache of a stage's teacher, as run_stage would before the first step, and trains nothing.

    Raises:
        InputError: a model that the stage starts from or learns from is not there yet.
    """
    with paddle.utils.unique_name.guard():
        prepare_stage(workspace, stage.of_task(task), task, workspace.stage_folder(stage, task))


def _read_result(folder: Path) -> Optional[dict[str, Any]]:
    file = folder / STAGE_RESULT_FILE
    return read_record(file, f"Remove {folder} to repeat the stage.") if file.is_file() else None


def _remove_leftovers(folder: Path) -> None:
    """Removes what only an unfinished stage needs."""
    for name in (CHECKPOINT, BEST):
        prune_checkpoints(folder, keep=0, name=name)
    for name in (CACHE_FOLDER, *(path.name for path in folder.glob(".*.*"))):  # what a kill left half written
        shutil.rmtree(folder / name, ignore_errors=True)


@dataclass(frozen=True)
class PreparedStage:
    """What a stage needs before its first step: its models, its data, its length and its teacher."""

    title: str
    tasks: tuple[str, ...]
    seed: int
    network: StageNetwork
    stream: BatchStream
    examples: dict[str, dict[str, int]]  # of training_examples
    steps: int
    teacher: Optional[Teacher]


def prepare_stage(
    workspace: Workspace, stage: StageConfig, task: Optional[str], folder: Path, compare_engine: bool = True
) -> PreparedStage:
    """A stage as it stands before its first step; the teacher's cache is written if there is to be one.

    `compare_engine` is that of Lesson.
    """
    tasks, title = stage.tasks_of(task), stage.title(task)
    _check_batch(stage)
    seed = _stage_seed(stage.seed if stage.seed is not None else workspace.run.seed, title)
    teachers = load_teachers(workspace, stage, tasks, task)
    side = next((side_of(model) for by_task in teachers.values() for model in by_task.values()), None)
    network = _build_network(workspace, stage, tasks, task, seed, side)
    if processes.is_main() and (task is None or task == stage.data.tasks[0]):
        _warn_of_sizes(stage, network, teachers)
    on_tasks = stage.data.corpus is None
    stream = task_stream(workspace, stage, tasks, seed) if on_tasks else corpus_stream(workspace, stage, seed)
    if isinstance(stream, TaskStream):
        ids = _used_ids(workspace, stage, tasks, stream)
        if network.train_used_rows(ids):
            logger.info("%s: trains the %d rows of the token embeddings that its texts use", title, len(ids))
    examples = training_examples(workspace, stage, tasks)
    steps = stage.optim.steps(stream.batches_per_epoch if isinstance(stream, TaskStream) else 0)
    batches, request = steps * stage.optim.accumulate, network.teacher_request
    lesson = Lesson(workspace, stage, title, folder, teachers, request, stream, batches, compare_engine)
    teacher = connect_teacher(lesson) if stage.answers is None else recorded_teacher(workspace, stage, tasks)
    return PreparedStage(title, tasks, seed, network, stream, examples, steps, teacher)


def _used_ids(workspace: Workspace, stage: StageConfig, tasks: tuple[str, ...], stream: TaskStream) -> Array:
    """The token ids that a stage meets while it trains: of its own examples, and of those that it is scored on."""
    scored = (_scored_features(workspace, stage, task) for task in tasks if stage.select.every is not None)
    return used_ids(chain(stream.features(), *scored), workspace.tokenizer.pad_id, workspace.tokenizer.vocab_size)


def _scored_features(workspace: Workspace, stage: StageConfig, task: str) -> Sequence[Feature]:
    return workspace.features(task, "dev", stage.data.max_length, stage.select.examples)


def _warn_of_sizes(stage: StageConfig, network: StageNetwork, teachers: dict[str, ByTask]) -> None:
    students = {name: _size(model, stage.auxiliary_layers) for name, model in network.models.items()}
    taught = {reference: _size(next(iter(by_task.values())), 0) for reference, by_task in teachers.items()}
    for warning in size_warnings(stage.name, students, taught):
        logger.warning("%s", warning)


def _size(model: MultiTaskModel, auxiliary_layers: int) -> Size:
    """Of the encoder, without the layers that are dropped at the end."""
    layers = list(model.encoder.encoder.layers)
    dropped = sum(count_parameters(layer) for layer in layers[len(layers) - auxiliary_layers :])
    embeddings = count_embedding_parameters(model.encoder)
    return Size(embeddings, count_parameters(model.encoder) - embeddings - dropped)


def _train(
    workspace: Workspace, stage: StageConfig, task: Optional[str], folder: Path, interruption: Interruption
) -> dict[str, Any]:
    prepared = prepare_stage(workspace, stage, task, folder)
    title, tasks, network = prepared.title, prepared.tasks, prepared.network
    log = None
    if processes.is_main():
        runtime = workspace.run.runtime
        curves = StageCurves(workspace.folder, title, runtime.histograms) if runtime.visualdl else None
        log = StageLog(title, workspace.events, curves)
    with nullcontext() if log is None else closing(log):  # an error stands on a line of its own, behind the bar's
        loop = StageLoop(
            network,
            prepared.stream,
            prepared.teacher,
            _settings(stage, workspace, folder, prepared),
            lambda: _score_models(workspace, stage, network, tasks),
            log,
            told_to_stop=lambda: interruption.received is not None,
        )
        resumed = processes.from_main(lambda: str(latest_checkpoint(folder) or ""))
        if resumed:
            logger.info("%s: continues from %s", title, resumed)
        processes.wait_for_all()
        with interruption.deferred():
            loop.train(Path(resumed) if resumed else None)
            if loop.stopped:
                interruption.leave(f"Stopped after step {loop.step} of {title}; a checkpoint is saved")
        return _finish(workspace, stage, loop, prepared, folder)


def _stage_seed(seed: int, title: str) -> int:
    return zlib.crc32(f"{seed}/{title}".encode()) & 0x7FFFFFFF


def _build_network(
    workspace: Workspace,
    stage: StageConfig,
    tasks: tuple[str, ...],
    task: Optional[str],
    seed: int,
    teacher: Optional[Side],
) -> StageNetwork:
    models: dict[str, MultiTaskModel] = {}
    objectives: dict[str, Objective] = {}
    kinds = {answered: kind_named(workspace.task(answered).kind) for answered in tasks}
    for name, reference in stage.trained.items():
        model = models[name] = workspace.model(reference, task, stage.seed)
        paddle.seed(seed)  # what is added below must not depend on what was drawn before
        workspace.check_lengths(stage, tasks, name, model)
        if stage.auxiliary_layers:
            append_layers(model.encoder, stage.auxiliary_layers)
        if stage.objective.reads_answers:
            for answered in tasks:
                add_head(model, workspace.task(answered))
        if stage.objective.mlm is not None and model.masked_token_head is None:
            model.add_masked_token_head()
        objectives[name] = Objective(stage.objective, side_of(model), teacher, kinds)
        if split_reference(reference)[1] is not None:
            _take_over_projections(objectives[name], workspace.model_folder(reference, task) / PROJECTIONS_FILE)
    return StageNetwork(models, objectives)


def _take_over_projections(objective: Objective, file: Path) -> None:
    """Starts from the projections of the stage before, where both have the same.

    Anew they would be random, and their first gradients would undo some of what the student has learned.
    """
    own = objective.state_dict()
    if not own or not file.is_file():
        return
    stored = load_file(file)
    if {name: list(value.shape) for name, value in own.items()} == {n: list(v.shape) for n, v in stored.items()}:
        objective.set_state_dict({name: paddle.to_tensor(value) for name, value in stored.items()})


def _check_batch(stage: StageConfig) -> None:
    """A relation of inputs needs two of them in each process; of one it is 0, and so is its gradient."""
    size, world = stage.optim.batch_size, processes.world_size()
    if stage.data.corpus is not None and size is None:
        size = (stage.optim.max_tokens or 0) // input_length(stage, ())
    if stage.objective.sample_relation is not None and size is not None and size < 2 * world:
        raise InputError(
            f"stages.{stage.name}.optim: sample_relation compares the inputs of a batch, and {size} on {world} "
            f"processes are less than two in each. Make batches of {2 * world} or more."
        )


def _settings(stage: StageConfig, workspace: Workspace, folder: Path, prepared: PreparedStage) -> LoopSettings:
    return LoopSettings(
        folder,
        prepared.steps,
        prepared.seed,
        stage.optim,
        workspace.run.runtime,
        stage.select.every,
        part_labelled=any(UNLABELLED in counts for counts in prepared.examples.values()),
        # A batch uses one head of several. What no batch of a stage uses, Paddle finds at the first one by itself.
        parts_unused=not stage.per_task and len(stage.data.tasks) > 1 and stage.objective.reads_answers,
    )


def _score_models(
    workspace: Workspace, stage: StageConfig, network: StageNetwork, tasks: tuple[str, ...]
) -> dict[str, float]:
    """Each task's main metric on dev, in percent; of each model where several are trained."""
    scores = {}
    for task in tasks:
        spec = workspace.task(task)
        examples = workspace.examples(task, "dev", stage.select.examples)
        features = _scored_features(workspace, stage, task)
        for name, model in network.models.items():
            own = score_model(model, spec, examples, features, workspace.tokenizer.pad_id)
            scores[network.title(name, task)] = own.main
    return scores


def _finish(
    workspace: Workspace,
    stage: StageConfig,
    loop: StageLoop,
    prepared: PreparedStage,
    folder: Path,
) -> dict[str, Any]:
    """Selects the weights, drops what only distillation needed, writes the model and the stage's result."""
    if stage.select.every is not None:
        loop.best.load()
    network, title = loop.network, prepared.title
    network.train_all_rows()
    for model in network.models.values():
        if stage.auxiliary_layers:
            drop_layers(model.encoder, stage.auxiliary_layers)
    masking = stage.objective.mlm is not None
    result = {
        "stage": stage.name,
        "task": title.partition("/")[2] or None,
        "trained": ", ".join(network.models),
        "steps": loop.step,
        "examples": prepared.examples,
        "tokens": loop.tokens,
        "seconds": round(loop.seconds, 1),
        "flops": stage_flops(workspace.run, stage, [workspace.task(task) for task in prepared.tasks], loop.tokens),
        "parameters": count_parameters(network.model.encoder),
        "best_dev": loop.best.score,
        "held_out": masked_token_quality(workspace, stage, network.model) if masking else None,
        "objective": {name: asdict(term) for name, term in stage.objective.terms().items()},
    }
    processes.from_main(lambda: _write_stage(workspace, stage, network, folder, result))
    if result["held_out"]:
        logger.info("%s, held-out text: %s", title, result["held_out"])
    return result


def _write_stage(
    workspace: Workspace, stage: StageConfig, network: StageNetwork, folder: Path, result: dict[str, Any]
) -> None:
    for name, model in network.models.items():
        with whole_folder(workspace.model_folder(f"{name}@{stage.name}", result["task"])) as target:
            _write_model(workspace, model, network.objectives[name], target)
    write_record(folder / STAGE_RESULT_FILE, result)
    _remove_leftovers(folder)
    workspace.events.write("stage_end", **result)


def _write_model(workspace: Workspace, model: MultiTaskModel, objective: Objective, folder: Path) -> None:
    save_model(model, folder)
    workspace.tokenizer.save(folder)
    projections = {name: value.numpy() for name, value in objective.state_dict().items()}
    if projections:
        save_file(projections, folder / PROJECTIONS_FILE)
