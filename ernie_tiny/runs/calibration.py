"""Measures what a run's stages take on this machine: their own steps, on their own networks, with random weights.

Nothing is trained and nothing is left behind: everything is written below a temporary folder. Of the data a sample is
tokenised; how much there is of it is counted.
"""

from __future__ import annotations

import itertools
import math
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np
import paddle

from ernie_tiny.batch import Batch
from ernie_tiny.config.schema import RunConfig, StageConfig, split_reference
from ernie_tiny.distill.cache import CachedTeacher, write_cache
from ernie_tiny.evaluation.scores import score_model
from ernie_tiny.kinds.ask import add_head, featurise, head_of
from ernie_tiny.runs.cost import Cost, Measured, StageCost, Work, mean_seconds, stage_cost, strata
from ernie_tiny.runs.machine import check_machine
from ernie_tiny.runs.plan import ready_data
from ernie_tiny.runs.sampled import SampledWorkspace
from ernie_tiny.runtime import processor
from ernie_tiny.training.loop import LoopSettings, StageLoop
from ernie_tiny.training.stage import PreparedStage, prepare_stage
from ernie_tiny.training.tasks import report_tasks
from ernie_tiny.training.teachers import PARTS_FILE, shared_cache

SAMPLE = 2000  # examples of a split that are tokenised
DRAWN, DRAWN_TEXT = 240, 12  # batches whose sizes are looked at; those of general text are all full
PARTS = 3  # batches that are timed, a small, a middle and a large one
PASSES = 5  # at most, over them
SMALLEST = 8  # a batch is cut to this part of itself at the least, where whole ones take too long
SCORING = 0.2  # part of the time for scoring
SCORED = (8, 256)  # dev examples, at first and at most
Clock = Callable[[], float]


def measure_cost(run: RunConfig, seconds: float = 60.0, clock: Clock = time.perf_counter) -> Cost:
    """The hours of a run's own stages, from about so many seconds of measuring.

    Every distinct shape of a stage (models, teacher and its engine, terms, batch, lengths) is timed once, for an equal
    part of the time; what is slower is timed with smaller batches, at the least one step of each of three lengths.

    Raises:
        InputError: as training would before its first step: data is missing, a length does not fit, ...
    """
    check_machine(run)
    ready_data(run)
    start = clock()
    with tempfile.TemporaryDirectory() as folder, paddle.utils.unique_name.guard():
        calibration = Calibration(replace(run, output_dir=str(Path(folder) / "run")), seconds, clock)
        prepare = calibration.prepare()
        stages = tuple(calibration.stages())
        score = calibration.score()
    threads = run.runtime.threads or "all"
    return Cost(stages, prepare / 3600, score / 3600, f"{processor().name}, {threads} threads", clock() - start)


@dataclass(frozen=True)
class Drawn:
    """Batches that stand for a stage's.

    Attributes:
        batches: A batch of each part.
        tokens: Mean padded tokens of each part.
        real: Real tokens of a mean batch.
        seconds: To draw a batch.
    """

    batches: tuple[Batch, ...]
    tokens: tuple[float, ...]
    real: float
    seconds: float


class TimedLoop(StageLoop):
    """Takes single steps on given batches, and times them."""

    def __init__(self, prepared: PreparedStage, teacher: Any, settings: LoopSettings, clock: Clock) -> None:
        super().__init__(prepared.network, prepared.stream, teacher, settings, dict, None)
        self._clock, self._inside = clock, 0.0
        self._interval.begin(0)

    def forward_backward(self, model: Any, batch: Batch, shares: Any) -> dict[str, Any]:
        start = self._clock()
        terms = super().forward_backward(model, batch, shares)
        self._inside += self._clock() - start
        return terms

    def time_step(self, batch: Batch) -> tuple[float, float]:
        """Seconds of forward and backward, and of the rest of the step."""
        self.stream, self._inside = _One(batch), 0.0
        start = self._clock()
        self._take_step(self.network)
        return self._inside, self._clock() - start - self._inside


class _One:
    """A stream of one batch."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def next_batch(self) -> Batch:
        return self._batch

    def all_inputs(self, batches: int) -> Iterator[Batch]:
        return itertools.repeat(self._batch, batches)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class Calibration:
    """Measures the parts of a run, each distinct one once, and puts them together."""

    def __init__(self, run: RunConfig, seconds: float, clock: Clock) -> None:
        recorded = any(stage.answers is not None for stage in run.stages)  # they are checked against all examples
        self._run, self._clock = run, clock
        self._workspace = SampledWorkspace(run, None if recorded else SAMPLE)
        self._parts = [(stage.of_task(task), task) for stage in run.own_stages for task in stage.parts]
        shapes = {self._shape(stage, task) for stage, task in self._parts}
        self._time = seconds * (1 - SCORING) / max(1, len(shapes))
        self._scored = cache(self._score_seconds)
        pairs = {(reference, task) for reference in run.report.models.values() for task in report_tasks(run)}
        pairs |= {(stage.train, task) for stage, _ in self._parts if stage.select.every for task in stage.data.tasks}
        self._score_time = seconds * SCORING / max(1, len(pairs))
        self._known: dict[str, Measured] = {}

    def prepare(self) -> float:
        """Seconds of making the vocabulary and the general text."""
        start = self._clock()
        self._workspace.tokenizer  # noqa: B018  made when it is first asked for
        built_from = self._run.tokenizer.build_from if self._run.vocabulary_source is None else None
        total = (self._clock() - start) * (self._workspace.text_share(built_from) if built_from else 1.0)
        for name in dict.fromkeys(stage.data.corpus for stage, _ in self._parts):
            if name is not None:
                start = self._clock()
                self._workspace.corpus(name)
                total += (self._clock() - start) * self._workspace.text_share(name)
        return total

    def stages(self) -> Iterator[StageCost]:
        """A row a stage, of one that runs per task a row a task."""
        for number, (stage, task) in enumerate(self._parts):
            shape = self._shape(stage, task)
            if shape not in self._known:
                self._known[shape] = self._measure(stage, task, self._workspace.folder / f"timed-{number}")
            measured = self._known[shape]
            if stage.select.every is not None:
                measured = replace(measured, evaluation=self._evaluation(stage, stage.tasks_of(task)))
            title = stage.title(task)
            yield stage_cost(title, self._work(stage, task, title), measured)

    def score(self) -> float:
        """Seconds of the report's scores."""
        limit, references = self._run.report.examples, self._run.report.models.values()
        return sum(
            self._scored(reference, task, self._workspace.stage_of(reference, task).data.max_length)
            * self._workspace.dev_size(task, limit)
            for reference in references
            for task in report_tasks(self._run)
        )

    # ---- counting

    def _shape(self, stage: StageConfig, task: Optional[str]) -> str:
        """The same for stages that take the same time a batch."""
        optim, data, models = stage.optim, stage.data, self._run.models
        return repr(
            (
                [models[name] for name in stage.trained],
                [models[split_reference(reference)[0]] for reference in stage.teachers],
                *(stage.answers, stage.objective, stage.auxiliary_layers, stage.cache is not None),
                *(optim.batch_size, optim.max_tokens, data.max_length, data.corpus, data.augment),
                (stage.tasks_of(task), data.sampling) if data.corpus is None or stage.objective.reads_answers else (),
            )
        )

    def _work(self, stage: StageConfig, task: Optional[str], title: str) -> Work:
        optim, save_steps = stage.optim, self._run.runtime.save_steps
        epoch = self._workspace.batches_per_epoch(stage, stage.tasks_of(task)) if stage.data.corpus is None else 0.0
        steps = optim.steps(epoch)
        cached = epoch or float(steps * optim.accumulate)
        shared = shared_cache(stage, title)
        if stage.cache is None or not stage.teachers or (shared is not None and (shared / PARTS_FILE).is_file()):
            cached = 0.0
        every = stage.select.every
        return Work(
            steps,
            optim.accumulate,
            cached,
            math.ceil(steps / every) if every else 0,
            1 + (steps // save_steps if save_steps else 0),
        )

    # ---- measuring

    def _measure(self, stage: StageConfig, task: Optional[str], folder: Path) -> Measured:
        end = self._clock() + self._time
        tasks = stage.tasks_of(task)
        plain = replace(
            stage,
            cache=None,
            data=replace(stage.data, augment=None),
            optim=replace(stage.optim, accumulate=1, max_steps=stage.optim.max_steps or 1000),
        )
        start = self._clock()
        prepared = prepare_stage(self._workspace, plain, task, folder, compare_engine=False)
        prepare = self._clock() - start
        prepare += self._workspace.tokenising(plain, tasks, self._clock)
        drawn = self._draw(plain, tasks, 1)
        small = self._draw(plain, tasks, SMALLEST)
        settings = LoopSettings(folder, prepared.steps, 0, plain.optim, self._run.runtime, parts_unused=False)
        teacher, loop = prepared.teacher, TimedLoop(prepared, prepared.teacher, settings, self._clock)
        loop.time_step(small.batches[0])  # chooses kernels
        seconds = sum(loop.time_step(small.batches[len(small.batches) // 2]))
        goal = max(drawn.tokens) / max(small.tokens)  # how much larger a whole batch is
        timed, part = drawn, 1
        while part < SMALLEST and PARTS * seconds * goal / part > end - self._clock():
            part *= 2
        if part > 1:
            timed = small if part == SMALLEST else self._draw(plain, tasks, part)
        written = [0.0] * len(timed.batches)
        if stage.cache is not None and teacher is not None:
            written, loop.teacher = self._cached(stage, prepared, timed, folder / "cache")
        passes, updates = self._passes(loop, timed, end)
        sizes = [batch.input_ids.size for batch in timed.batches]
        means = [mean_seconds(each, sizes, drawn.tokens) for each in passes]
        middle = float(np.median(means))
        spread = (max(means) - min(means)) / 2 / middle if len(means) > 1 else None
        start = self._clock()
        if self._run.runtime.save_steps:
            loop.save()
        save = self._clock() - start
        cached = mean_seconds(written, sizes, drawn.tokens)
        return Measured(prepare, middle + drawn.seconds, updates, cached, 0.0, save, drawn.real, spread)

    def _passes(self, loop: TimedLoop, timed: Drawn, end: float) -> tuple[list[list[float]], float]:
        """Seconds of each batch in each pass but a first one that others follow; the median update."""
        passes: list[list[float]] = []
        updates: list[float] = []
        taken = 0.0
        while not passes or (len(passes) <= PASSES and self._clock() + taken < end):
            start = self._clock()
            steps = [loop.time_step(batch) for batch in timed.batches]
            taken = self._clock() - start
            passes.append([inside for inside, _ in steps])
            updates += [update for _, update in steps]
        return passes[1:] or passes, float(np.median(updates))

    def _draw(self, stage: StageConfig, tasks: tuple[str, ...], part: int) -> Drawn:
        """Batches of the stage's stream, as large as a part of its own."""
        text = stage.data.corpus is not None
        stream = self._workspace.stream(stage, tasks, part)
        count, start = DRAWN_TEXT if text else DRAWN, self._clock()
        batches = [stream.next_batch() for _ in range(count)]
        seconds = (self._clock() - start) / count
        chosen = strata([batch.input_ids.size for batch in batches], PARTS)
        return Drawn(
            tuple(batches[index] for index, _ in chosen),
            tuple(tokens for _, tokens in chosen),
            float(np.mean([batch.num_tokens for batch in batches])),
            seconds,
        )

    def _cached(
        self, stage: StageConfig, prepared: PreparedStage, timed: Drawn, folder: Path
    ) -> tuple[list[float], CachedTeacher]:
        """Seconds of writing the teacher's signals of each batch, and the teacher that reads them."""
        assert stage.cache is not None and prepared.teacher is not None
        request = prepared.network.teacher_request
        heads = {task: head_of(self._workspace.task(task)) for task in stage.data.tasks}
        seconds, parts = [], []
        for number, batch in enumerate(timed.batches):
            parts.append(folder / str(number))
            parts[-1].mkdir(parents=True)
            start = self._clock()
            write_cache(parts[-1], prepared.teacher, [batch], request, stage.cache.precision, {}, heads)
            seconds.append(self._clock() - start)
        return seconds, CachedTeacher(parts, request, stage.cache.precision, {}, heads)

    def _evaluation(self, stage: StageConfig, tasks: tuple[str, ...]) -> float:
        """Seconds of one evaluation of all trained models."""
        limit = stage.select.examples
        return sum(
            self._scored(f"{name}@{stage.name}", task, stage.data.max_length) * self._workspace.dev_size(task, limit)
            for name in stage.trained
            for task in tasks
        )

    def _score_seconds(self, reference: str, task: str, max_length: Optional[int]) -> float:
        """Seconds of scoring a dev example."""
        model, spec = self._workspace.model(reference, task), self._workspace.task(task)
        add_head(model, spec)
        examples = self._workspace.examples(task, "dev", None)
        end = self._clock() + self._score_time
        few, most = SCORED
        count = min(few, len(examples))
        while True:
            part = examples[:: max(1, len(examples) // count)][:count]
            start = self._clock()
            features = featurise(spec, part, self._workspace.tokenizer, max_length or spec.max_length)
            score_model(model, spec, part, features, self._workspace.tokenizer.pad_id)
            seconds = self._clock() - start
            larger = min(most, len(examples), 4 * count)
            if larger == count or self._clock() + seconds * larger / count > end:
                return seconds / count
            count = larger
