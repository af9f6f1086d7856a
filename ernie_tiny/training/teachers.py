"""Builds the source of a stage's teacher signals from its config."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Optional, TypeVar

import paddle

from ernie_tiny import processes
from ernie_tiny.batch import Batch
from ernie_tiny.config.schema import RuntimeConfig, StageConfig, split_reference
from ernie_tiny.distill.cache import CachedTeacher, fingerprint_of, recorded_identity, write_cache
from ernie_tiny.distill.recorded import RecordedTeacher
from ernie_tiny.distill.teacher import EnsembleTeacher, PerTaskTeacher, Teacher
from ernie_tiny.errors import InputError
from ernie_tiny.files import alone_at, require_whole, whole_folder, write_text
from ernie_tiny.kinds.answers import recorded_of
from ernie_tiny.kinds.ask import featurise, head_of
from ernie_tiny.models.forms import HeadSpec, require_head
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.models.signals import SignalRequest
from ernie_tiny.training.callbacks import progress_bar
from ernie_tiny.training.streams import BatchStream
from ernie_tiny.training.tasks import stage_answers, training_splits
from ernie_tiny.training.teacher_engine import TeacherEngine, check_agreement, frozen_teacher, teacher_engine
from ernie_tiny.training.workspace import Workspace

CACHE_FOLDER = "teacher_cache"
PARTS_FILE = "parts.txt"  # of a cache that is whole: how many parts it has
logger = logging.getLogger(__name__)
T = TypeVar("T")
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
            if task is None and split_reference(reference)[1] is not None and workspace.stage_of(reference).per_task:
                found[reference] = {name: workspace.model(reference, name) for name in tasks}
            else:
                found[reference] = {"": workspace.model(reference, task)}
        for model in found[reference].values():
            workspace.check_lengths(stage, tasks, reference, model)
        if stage.objective.soft is not None or stage.objective.logit_mse is not None:
            for name in tasks:
                model = _of_task(found[reference], name)
                check_head(model, head_of(workspace.task(name)), f"stages.{stage.name}: teacher {reference}")
    return found


@dataclass(frozen=True)
class Lesson:
    """A stage, the models that teach it, and what they are asked.

    Attributes:
        title, folder: The stage's.
        models: Those of load_teachers.
        stream, batches: What the stage will train on, to fill a cache with.
        compare_engine: Whether an engine's signals must agree with dygraph's; those of random weights may not.
    """

    workspace: Workspace
    stage: StageConfig
    title: str
    folder: Path
    models: dict[str, ByTask]
    request: SignalRequest
    stream: BatchStream
    batches: int
    compare_engine: bool = True

    def first_batch(self, task: str = "") -> Batch:
        """The batch that the stream gives next, or its next one of a task; its position stays."""
        position = self.stream.state_dict()
        batch = self.stream.next_batch()
        while task not in ("", batch.task):
            batch = self.stream.next_batch()
        self.stream.load_state_dict(position)
        return batch

    @property
    def heads(self) -> dict[str, HeadSpec]:
        """The heads that give a teacher's logits, by task."""
        return {task: head_of(self.workspace.task(task)) for task in self.stage.data.tasks}

    def identity(self) -> dict[str, str]:
        """What the signals of a cache depend on, beside the inputs and the engine."""
        return {
            "teacher": fingerprint_of(model for by_task in self.models.values() for model in by_task.values()),
            "weights": ", ".join(f"{weight:g}" for weight in self.stage.teachers.values()),
            "tokenizer": self.workspace.tokenizer.fingerprint,
        }


def connect_teacher(lesson: Lesson) -> Optional[Teacher]:
    """The stage's one source of signals, or None without a teacher."""
    if not lesson.models:
        return None
    return _computing_teacher(lesson, _choose_engine(lesson)) if lesson.stage.cache is None else _cached_teacher(lesson)


def _choose_engine(lesson: Lesson) -> TeacherEngine:
    batch = lesson.first_batch()
    model = _of_task(next(iter(lesson.models.values())), batch.task)
    return teacher_engine(lesson.workspace.run.runtime, lesson.title, lesson.folder, model, lesson.request, batch)


def _computing_teacher(lesson: Lesson, chosen: TeacherEngine) -> Teacher:
    """The signals as the engine computes them, batch by batch."""
    sources = {
        name: {task: frozen_teacher(model, lesson.request, chosen) for task, model in by_task.items()}
        for name, by_task in lesson.models.items()
    }
    for name, by_task in lesson.models.items() if lesson.compare_engine else ():
        for task, model in by_task.items():
            batch = lesson.first_batch(task)
            check_agreement(lesson.title, sources[name][task], model, lesson.request, batch, chosen)
    whole = {name: PerTaskTeacher(found) if "" not in found else found[""] for name, found in sources.items()}
    if len(whole) == 1:
        return next(iter(whole.values()))
    return EnsembleTeacher([(teacher, lesson.stage.teachers[name]) for name, teacher in whole.items()])


def _cached_teacher(lesson: Lesson) -> CachedTeacher:
    """The signals on disk, written first where they are not there."""
    assert lesson.stage.cache is not None
    identity, shared = lesson.identity(), shared_cache(lesson.stage, lesson.title)
    cache = shared or lesson.folder / CACHE_FOLDER
    # Of runs that share a cache one writes it, with all of its processes; the others find it whole.
    with alone_at(cache) if shared and processes.is_main() else nullcontext():
        processes.wait_for_all()
        written = (cache / PARTS_FILE).is_file()
        if not written:
            _write_cache(lesson, cache, identity)
    count = int((cache / PARTS_FILE).read_text(encoding="utf-8"))
    parts = [cache / f"part-{number}" for number in range(count)]
    for part in parts:
        require_whole(part, f"Remove {cache} to compute the teacher's signals anew.")
    identity["engine"] = _engine_of(parts[0], lesson.workspace.run.runtime) or str(_choose_engine(lesson))
    cached = CachedTeacher(parts, lesson.request, lesson.stage.cache.precision, identity, lesson.heads)
    if shared and written:
        _require_inputs(lesson, cached, cache)
    return cached


def shared_cache(stage: StageConfig, title: str) -> Optional[Path]:
    """The folder of a cache that runs share; None for a stage that has none or keeps it to itself."""
    folder = stage.cache.folder if stage.cache is not None else None
    return None if folder is None else Path(folder) / title


def _write_cache(lesson: Lesson, cache: Path, identity: dict[str, str]) -> None:
    """Each process computes and writes a part, on the engine that is chosen."""
    assert lesson.stage.cache is not None
    logger.info("%s: writes the teacher's signals to %s", lesson.title, cache)
    chosen, silent = _choose_engine(lesson), not processes.is_main()
    inputs = progress_bar(
        iterable=lesson.stream.all_inputs(lesson.batches), desc="teacher", unit="batch", disable=silent
    )
    own, precision = {**identity, "engine": str(chosen)}, lesson.stage.cache.precision
    with inputs, whole_folder(cache / f"part-{processes.rank()}") as part:
        write_cache(part, _computing_teacher(lesson, chosen), inputs, lesson.request, precision, own, lesson.heads)
    processes.wait_for_all()
    processes.from_main(lambda: write_text(cache / PARTS_FILE, str(processes.world_size())))


def _engine_of(part: Path, runtime: RuntimeConfig) -> Optional[str]:
    """Under "auto" the engine that wrote the cache: timed here another may be faster. None for one that may not be."""
    engine = recorded_identity(part).get("engine", "")
    allowed = runtime.teacher_engine == "auto" and engine.endswith(("float32", runtime.teacher_precision))
    return engine if allowed else None


def _require_inputs(lesson: Lesson, cached: CachedTeacher, cache: Path) -> None:
    """Raises an InputError where a cache, which another run may have written, lacks inputs of the stage.

    All inputs of tasks are looked up. Those of general text follow from its first batch and their number.
    """
    title, batches, rows = lesson.title, lesson.batches, len(lesson.first_batch().example_ids)
    found = processes.gather((*cached.look_up(lesson.stream.all_inputs(1)), rows))
    missing, looked_up, rows = (sum(counts) for counts in zip(*found))
    on_text, reason = lesson.stage.data.corpus is not None, ""
    if missing:
        differs = "the text, its length or the seed" if on_text else "the examples or max_length"
        reason = f"other inputs; it lacks {missing} of {looked_up} of {title}, so {differs} differ"
    elif on_text and len(cached) < batches * rows:
        reason = f"fewer steps; it holds {len(cached)} rows of text, and {title} reads {batches * rows}"
    if reason:
        raise InputError(
            f"{cache}: the teacher's cache was written for {reason}. Undo the change, give "
            f"stages.{lesson.stage.name}.cache.folder another folder, or remove this one to compute it anew."
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


def _of_task(by_task: Mapping[str, T], task: str) -> T:
    return by_task[task if task in by_task else ""]


def check_head(model: MultiTaskModel, wanted: HeadSpec, owner: str) -> None:
    """Raises an InputError unless the model has a head for the task, with the data's labels in the data's order."""
    require_head(wanted.task, model.head_specs, owner)
    present = model.head_specs[wanted.task]
    if present != wanted:
        raise InputError(
            f"{owner} answers {wanted.task} with the labels {list(present.labels)} ({present.outline}), the data has "
            f"{list(wanted.labels)} ({wanted.outline}). Labels and their order must be equal."
        )
