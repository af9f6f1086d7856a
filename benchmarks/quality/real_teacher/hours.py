"""What is left to do: each run with its state, and its steps, tokens, FLOPs and hours by a shortened run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ernie_tiny.config.schema import RunConfig, StageConfig
from ernie_tiny.kinds.read import read_split
from ernie_tiny.report.results import StageResult
from ernie_tiny.runs.run_folders import read_results
from ernie_tiny.training.tasks import task_specs


@dataclass(frozen=True)
class Work:
    """What a run's own stages take."""

    steps: int
    tokens: float
    flops: float
    hours: float


class Estimate:
    """Steps from the configs and the sizes of the data; what a step takes from the stages of a shortened run."""

    def __init__(self, data: Path, smoke: Path) -> None:
        self._data, self._smoke = data, smoke
        self._sizes: dict[str, int] = {}

    def of(self, run: RunConfig, name: str) -> Work:
        """The work of a run, whose shortened run is finished in the folder of this name."""
        results = read_results(self._smoke / name)
        assert results is not None
        parts = list(self._stages(run, {(stage.stage, stage.task): stage for stage in results.stages}))
        return Work(*(sum(values) for values in zip(*parts)))

    def _stages(
        self, run: RunConfig, measured: dict[tuple[str, Optional[str]], StageResult]
    ) -> Iterator[tuple[int, float, float, float]]:
        for stage in run.stages:
            if stage.taken_from is not None:
                continue
            for task in stage.data.tasks if stage.per_task else (None,):
                found, steps = measured[stage.name, task], self._steps(run, stage.of_task(task), task)
                share = steps / found.steps
                yield steps, share * found.tokens, share * (found.flops or 0), share * found.seconds / 3600

    def _steps(self, run: RunConfig, stage: StageConfig, task: Optional[str]) -> int:
        if stage.optim.max_steps is not None:
            return stage.optim.max_steps
        tasks: Sequence[str] = stage.data.tasks if task is None else (task,)
        sizes = [min(self._size(run, name), stage.data.examples or self._size(run, name)) for name in tasks]
        # Under max_tokens a batch holds some twenty examples here.
        batches = sum(math.ceil(size / (stage.optim.batch_size or 20)) for size in sizes)
        return math.ceil((stage.optim.epochs or 0) * batches / stage.optim.accumulate)

    def _size(self, run: RunConfig, task: str) -> int:
        if task not in self._sizes:
            self._sizes[task] = len(read_split(task_specs(run)[task], self._data, "train").examples)
        return self._sizes[task]
