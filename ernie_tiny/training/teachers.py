"""Builds the source of a stage's teacher signals from its config."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Callable, Optional

import paddle

from ernie_tiny import processes
from ernie_tiny.batch import Batch
from ernie_tiny.config.schema import RuntimeConfig, StageConfig, split_reference
from ernie_tiny.distill.cache import CachedTeacher, fingerprint_of, recorded_identity, write_cache
from ernie_tiny.distill.recorded import RecordedTeacher
from ernie_tiny.distill.teacher import EnsembleTeacher, PerTaskTeacher, Teacher
from ernie_tiny.errors import InputError, offer
from ernie_tiny.files import alone_at, require_whole, whole_folder, write_text
from ernie_tiny.kinds.answers import recorded_of
from ernie_tiny.kinds.ask import featurise, head_of
from ernie_tiny.models.forms import HeadSpec
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.models.signals import SignalRequest
from ernie_tiny.training.callbacks import progress_bar
from ernie_tiny.training.streams import BatchStream
from ernie_tiny.training.tasks import stage_answers, training_splits
from ernie_tiny.training.teacher_engine import TeacherEngine, check_agreement, frozen_teacher, teacher_engine
from ernie_tiny.training.workspace import Workspace

CACHE_FOLDER = "teacher_cache"
logger = logging.getLogger(__name__)
ByTask = dict[str, MultiTaskModel]  # with the key "" for a model that answers every batch


def load_teachers(
    workspace: Workspace, stage: StageConfig, tasks: tuple[str, ...], task: Optional[str]
) -> dict[str, ByTask]:
    """The models that teach a stage, by reference.

    Raises:
        InputError: the objective reads a teacher's answers, and a head is missing or has other labels than the data.
    """
    found: dict[str, ByTask] = {}
    for reference in stage.teachers:
        with paddle.utils.unique_name.guard("teacher_"):  # names of the trained model's weights must not shift
            if task is None and _is_per_task(workspace, reference):
                found[reference] = {name: workspace.model(reference, name) for name in tasks}
            else:
                found[reference] = {"": workspace.model(reference, task)}
        if stage.objective.soft is not None or stage.objective.logit_mse is not None:
            for name in tasks:
                model = found[reference].get(name) or found[reference][""]
                check_head(model, head_of(workspace.task(name)), f"stages.{stage.name}: teacher {reference}")
    return found


def connect_teacher(
    workspace: Workspace,
    stage: StageConfig,
    models: dict[str, ByTask],
    request: SignalRequest,
    stream: BatchStream,
    batches: int,
    title: str,
    folder: Path,
    compare_engine: bool = True,
) -> Optional[Teacher]:
    """The stage's one source of signals, or None without a teacher.

    Args:
        stream, batches: What the stage will train on, to fill a cache with.
        title, folder: The stage's.
        compare_engine: Whether an engine's signals must agree with dygraph's; those of random weights may not.
    """
    if not models:
        return None
    first, (reference, by_task) = _first_batch(stream), next(iter(models.items()))
    key = first.task if first.task in by_task else ""
    model = by_task[key]

    def choose() -> TeacherEngine:
        return teacher_engine(workspace.run.runtime, title, folder, model, request, first)

    def source(chosen: TeacherEngine) -> Teacher:
        by_reference = {
            name: {task: frozen_teacher(model, request, chosen) for task, model in found.items()}
            for name, found in models.items()
        }
        if compare_engine:
            check_agreement(title, by_reference[reference][key], model, request, first, chosen)
        sources = [(_by_task(found), stage.teachers[name]) for name, found in by_reference.items()]
        return EnsembleTeacher(sources) if len(sources) > 1 else sources[0][0]

    if stage.cache is None:
        return source(choose())
    return _cached_teacher(workspace, stage, models, request, stream, batches, title, folder, choose, source)


def _cached_teacher(
    workspace: Workspace,
    stage: StageConfig,
    models: dict[str, ByTask],
    request: SignalRequest,
    stream: BatchStream,
    batches: int,
    title: str,
    folder: Path,
    choose: Callable[[], TeacherEngine],
    source: Callable[[TeacherEngine], Teacher],
) -> CachedTeacher:
    """The signals on disk, written first where they are not there: by the source on the engine that is chosen."""
    assert stage.cache is not None
    identity, precision = _identity(workspace, stage, models), stage.cache.precision
    heads = {task: head_of(workspace.task(task)) for task in stage.data.tasks}
    shared = stage.cache.folder is not None
    cache = Path(stage.cache.folder or "") / title if shared else folder / CACHE_FOLDER
    complete = cache / "parts.txt"
    # Of runs that share a cache one writes it, with all of its processes; the others find it whole.
    with alone_at(cache) if shared and processes.is_main() else nullcontext():
        processes.wait_for_all()
        written = complete.is_file()
        if not written:
            logger.info("%s: writes the teacher's signals to %s", title, cache)
            chosen = choose()
            inputs = progress_bar(
                iterable=stream.all_inputs(batches), desc="teacher", unit="batch", disable=not processes.is_main()
            )
            own = {**identity, "engine": str(chosen)}
            with inputs, whole_folder(cache / f"part-{processes.rank()}") as part:
                write_cache(part, source(chosen), inputs, request, precision, own, heads)
            processes.wait_for_all()
            processes.from_main(lambda: write_text(complete, str(processes.world_size())))
    parts = [cache / f"part-{number}" for number in range(int(complete.read_text(encoding="utf-8")))]
    for part in parts:
        require_whole(part, f"Remove {cache} to compute the teacher's signals anew.")
    identity["engine"] = _engine_of(parts[0], workspace.run.runtime) or str(choose())
    cached = CachedTeacher(parts, request, precision, identity, heads)
    if shared and written:
        _require_inputs(cached, stage, stream, batches, title, cache)
    return cached


def _identity(workspace: Workspace, stage: StageConfig, models: dict[str, ByTask]) -> dict[str, str]:
    """What the signals of a cache depend on, beside the inputs and the engine."""
    return {
        "teacher": fingerprint_of(model for by_task in models.values() for model in by_task.values()),
        "weights": ", ".join(f"{weight:g}" for weight in stage.teachers.values()),
        "tokenizer": workspace.tokenizer.fingerprint,
    }


def _engine_of(part: Path, runtime: RuntimeConfig) -> Optional[str]:
    """Under "auto" the engine that wrote the cache: timed here another may be faster. None for one that may not be."""
    engine = recorded_identity(part).get("engine", "")
    allowed = runtime.teacher_engine == "auto" and engine.endswith(("float32", runtime.teacher_precision))
    return engine if allowed else None


def _require_inputs(
    cached: CachedTeacher, stage: StageConfig, stream: BatchStream, batches: int, title: str, cache: Path
) -> None:
    """Raises an InputError where a cache, which another run may have written, lacks inputs of the stage.

    All inputs of tasks are looked up. Those of general text follow from its first batch and their number.
    """
    rows = len(_first_batch(stream).example_ids)
    found = processes.gather((*cached.look_up(stream.all_inputs(1)), rows))
    missing, looked_up, rows = (sum(counts) for counts in zip(*found))
    on_text, reason = stage.data.corpus is not None, ""
    if missing:
        differs = "the text, its length or the seed" if on_text else "the examples or max_length"
        reason = f"other inputs; it lacks {missing} of {looked_up} of {title}, so {differs} differ"
    elif on_text and len(cached) < batches * rows:
        reason = f"fewer steps; it holds {len(cached)} rows of text, and {title} reads {batches * rows}"
    if reason:
        raise InputError(
            f"{cache}: the teacher's cache was written for {reason}. Undo the change, give "
            f"stages.{stage.name}.cache.folder another folder, or remove this one to compute it anew."
        )


def recorded_teacher(workspace: Workspace, stage: StageConfig, tasks: tuple[str, ...]) -> Teacher:
    """The answers of files, in place of those of a model."""
    assert stage.answers is not None
    smoothing = stage.answers.label_smoothing or 0.0
    teacher = RecordedTeacher({task: head_of(workspace.task(task)) for task in tasks})
    for task in tasks:
        spec = workspace.task(task)
        recorded = recorded_of(spec, f"stages.{stage.name}.teacher")
        answers = stage_answers(workspace.run, stage, spec, workspace.examples)
        for split, limit in training_splits(stage, spec):
            of_split = {example.id: answers[split, example.id] for example in workspace.examples(task, split, limit)}
            asked = [answer.example for answer in of_split.values()]
            features = featurise(spec, asked, workspace.tokenizer, stage.data.max_length or spec.max_length)
            teacher.add(
                task,
                (
                    (feature, partial(of_split[feature.example_id].logits, recorded, feature, smoothing))
                    for feature in features
                ),
            )
    return teacher


def _first_batch(stream: BatchStream) -> Batch:
    """The batch that the stream gives next; its position stays."""
    position = stream.state_dict()
    batch = stream.next_batch()
    stream.load_state_dict(position)
    return batch


def _by_task(by_reference: dict[str, Teacher]) -> Teacher:
    return by_reference[""] if "" in by_reference else PerTaskTeacher(by_reference)


def _is_per_task(workspace: Workspace, reference: str) -> bool:
    return split_reference(reference)[1] is not None and workspace.stage_of(reference).per_task


def check_head(model: MultiTaskModel, wanted: HeadSpec, owner: str) -> None:
    """Raises an InputError unless the model has a head for the task, with the data's labels in the data's order."""
    present = model.head_specs.get(wanted.task)
    if present is None:
        raise InputError(
            f"{owner} has no head for {wanted.task}. {offer(wanted.task, model.head_specs)} Fine-tune the teacher on "
            f"{wanted.task} in a stage before, and name that stage."
        )
    if present != wanted:
        raise InputError(
            f"{owner} answers {wanted.task} with the labels {list(present.labels)} ({present.outline}), the data has "
            f"{list(wanted.labels)} ({wanted.outline}). Labels and their order must be equal."
        )
