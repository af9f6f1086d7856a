"""How sure the gain of one arm over another is, over the choice of examples and of seeds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np

from benchmarks.quality.judging import draws_of
from benchmarks.quality.real_teacher.arms import ARMS, GROUPS, common_seeds, of_seed
from benchmarks.quality.real_teacher.parts import FEW_CLUE, FEW_FOLDER, FEW_SPLIT
from ernie_tiny.config import load_config
from ernie_tiny.data.task import Example, Prediction, TaskSpec
from ernie_tiny.evaluation.metrics import scorer
from ernie_tiny.evaluation.statistics import ScoreOf, paired_interval
from ernie_tiny.kinds.entities import Entity
from ernie_tiny.kinds.read import read_split
from ernie_tiny.runs.run_folders import PREDICTIONS_FOLDER, read_results
from ernie_tiny.training.tasks import task_specs


class Intervals:
    """The intervals of gains, from the predictions in the runs below a folder; each dev set is read once."""

    def __init__(self, output: Path, data: Path) -> None:
        self._output, self._data = output, data
        self._read: dict[tuple[str, str], tuple[Example, ...]] = {}

    def of(self, study: Mapping[str, Any], above: str, below: str, group: str) -> Optional[tuple[float, float]]:
        """The ends of the interval over the seeds that both arms have; None where there are none, or a task lacks."""
        seeds, tasks = common_seeds(study, above, below), GROUPS[group]
        for arm in (above, below):
            for seed in seeds:
                if not set(tasks) <= set(study["arms"][arm]["seeds"][of_seed(arm, seed)]["scores"]):
                    return None
        if not seeds:
            return None
        pairs = {
            name: [(self._mean(above, seed, draws), self._mean(below, seed, draws)) for seed in seeds]
            for name, draws in draws_of(tasks).items()
        }
        return paired_interval(pairs, {name: study["examples"][draws[0]] for name, draws in draws_of(tasks).items()})

    def _mean(self, arm: str, seed: str, draws: Sequence[str]) -> ScoreOf:
        """The mean over a task's draws, which share their dev set."""
        scores = [self._score(arm, of_seed(arm, seed), task) for task in draws]
        return lambda chosen: float(np.mean([score(chosen) for score in scores]))

    def _score(self, arm: str, seed: str, task: str) -> ScoreOf:
        folder, reference = self._output / ARMS[arm].run.format(seed=seed), ARMS[arm].reference
        spec = task_specs(load_config(folder / "config.yaml"))[task]
        if task in FEW_CLUE:
            split, file = FEW_SPLIT, folder / FEW_FOLDER / reference / f"{task}.jsonl"
        else:
            results = read_results(folder)
            assert results is not None
            role = next(model.role for model in results.models if model.reference == reference)
            split, file = "dev", folder / PREDICTIONS_FOLDER / role / f"{task}.jsonl"
        scores_of = scorer(spec, self._examples(spec, split), list(_predictions(file)))
        return lambda chosen: scores_of(chosen)[spec.metric]

    def _examples(self, spec: TaskSpec, split: str) -> tuple[Example, ...]:
        key = (spec.name, split)
        if key not in self._read:
            self._read[key] = read_split(spec, self._data, split).examples
        return self._read[key]


def _predictions(file: Path) -> Iterator[Prediction]:
    for line in file.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        answer = record["answer"]
        entities = isinstance(answer, list)
        yield Prediction(record["id"], tuple(Entity(**item) for item in answer) if entities else answer)
