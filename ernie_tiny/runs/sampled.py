"""A part of a run's data, and its models before they are trained: what timing a run's steps needs of it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np

from ernie_tiny.config.schema import RunConfig, StageConfig, split_reference
from ernie_tiny.data.sampling import TaskStream, sampling_weights
from ernie_tiny.data.task import UNLABELLED, Example
from ernie_tiny.kinds.ask import add_head
from ernie_tiny.models.multitask import MultiTaskModel
from ernie_tiny.training.flops import input_length
from ernie_tiny.training.streams import BatchStream, corpus_stream
from ernie_tiny.training.tasks import training_splits
from ernie_tiny.training.workspace import Workspace


class SampledWorkspace(Workspace):
    """A workspace of a part of the data, whose models have random weights where a stage is still to give them.

    Attributes:
        sizes: Of (task, split, limit): all examples.
    """

    text_bytes = 4_000_000  # of each file of general text

    def __init__(self, run: RunConfig, sample: Optional[int]) -> None:
        super().__init__(run)
        self._sample = sample
        self.sizes: dict[tuple[str, str, Optional[int]], int] = {}
        self._texts: dict[str, list[Path]] = {}
        self._tokenised = cache(self.features)

    def _read_examples(self, task: str, split: str, limit: Optional[int] = None) -> tuple[Example, ...]:
        found = super()._read_examples(task, split, limit)
        self.sizes[task, split, limit] = len(found)
        if self._sample is None or len(found) <= self._sample:
            return found
        chosen = np.sort(np.random.default_rng(0).choice(len(found), self._sample, replace=False))
        return tuple(found[index] for index in chosen)

    def share(self, task: str, split: str, limit: Optional[int]) -> float:
        """All examples over those of the sample."""
        sampled = len(self.examples(task, split, limit))
        return self.sizes[task, split, limit] / max(1, sampled)

    def corpus_files(self, corpus: str) -> list[Path]:
        """The first lines of each file, as files."""
        if corpus not in self._texts:
            target = self.folder / "texts" / corpus
            target.mkdir(parents=True)
            self._texts[corpus] = [
                _beginning(file, target / f"{number}-{file.name}", self.text_bytes)
                for number, file in enumerate(super().corpus_files(corpus))
            ]
        return self._texts[corpus]

    def text_share(self, corpus: str) -> float:
        """All bytes over those of the sample."""
        whole = sum(file.stat().st_size for file in super().corpus_files(corpus))
        return whole / max(1, sum(file.stat().st_size for file in self.corpus_files(corpus)))

    def model(self, reference: str, task: Optional[str] = None, seed: Optional[int] = None) -> MultiTaskModel:
        """As configured or as a finished run left it; with its stage's heads, untrained, where that is still to run."""
        name, stage_name = split_reference(reference)
        if stage_name is None or self.run.stage(stage_name).taken_from is not None:
            return super().model(reference, task, seed)
        stage = self.run.stage(stage_name)
        model = self.model(stage.trained[name], task, seed)
        if stage.objective.mlm is not None and model.masked_token_head is None:
            model.add_masked_token_head()
        for answered in stage.data.tasks if stage.objective.reads_answers else ():
            add_head(model, self.task(answered))
        return model

    # ---- the data of a stage

    def batches_per_epoch(self, stage: StageConfig, tasks: tuple[str, ...]) -> float:
        """Batches of an epoch: those of the sample, each task's in proportion to its examples."""
        features, sizes = self.training_sample(stage, tasks)
        total = 0.0
        for task, own in features.items():
            optim, pad_id = stage.optim, self.tokenizer.pad_id
            stream = TaskStream({task: own}, {task: 1.0}, 0, optim.batch_size, optim.max_tokens, pad_id)
            total += stream.batches_per_epoch * (sizes[task] / len(own))
        return total

    def training_sample(
        self, stage: StageConfig, tasks: tuple[str, ...]
    ) -> tuple[dict[str, list[Any]], dict[str, int]]:
        """Of each task the sample's features, and how many all of its examples have, augmented copies included."""
        found: dict[str, list[Any]] = {}
        sizes: dict[str, int] = {}
        copies = 0 if stage.data.augment is None else stage.data.augment.copies
        for task in tasks:
            found[task], sizes[task] = [], 0
            for split, limit in training_splits(stage, self.task(task)):
                times = 1 if split == UNLABELLED else 1 + copies
                own = times * self._tokenised(task, split, stage.data.max_length, limit)
                found[task] += own
                sizes[task] += round(len(own) * self.share(task, split, limit))
        return found, sizes

    def dev_size(self, task: str, limit: Optional[int]) -> int:
        """Dev examples of a task, of at most so many."""
        self.examples(task, "dev", limit)
        return self.sizes[task, "dev", limit]

    def stream(self, stage: StageConfig, tasks: tuple[str, ...], part: int) -> BatchStream:
        """Batches of a stage in the company that all of its data would give them, as large as a part of its own."""
        optim = stage.optim
        size = None if optim.batch_size is None else max(1, optim.batch_size // part)
        budget = None if optim.max_tokens is None else optim.max_tokens // part
        if stage.data.corpus is not None:
            if budget is not None:
                budget = max(budget, input_length(stage, []))
            smaller = replace(stage, optim=replace(optim, batch_size=size, max_tokens=budget))
            return corpus_stream(self, smaller, 0)
        features, sizes = self.training_sample(stage, tasks)
        if budget is not None:
            budget = max(budget, *(_longest(own) for own in features.values()))
        sampling = stage.data.sampling
        weights = sampling_weights(sizes, sampling.strategy, sampling.exponent, sampling.weights)
        return TaskStream(features, weights, 0, size, budget, self.tokenizer.pad_id)

    def tokenising(self, stage: StageConfig, tasks: tuple[str, ...], clock: Callable[[], float]) -> float:
        """Seconds of tokenising the examples that are not in the sample."""
        total = 0.0
        for task in tasks if stage.data.corpus is None else ():
            for split, limit in training_splits(stage, self.task(task)):
                more = self.share(task, split, limit) - 1
                start = clock()
                if more > 0:
                    self.features(task, split, stage.data.max_length, limit)
                total += more * (clock() - start)
        return total


def _beginning(file: Path, target: Path, least: int) -> Path:
    size = 0
    with file.open("rb") as source, target.open("wb") as sink:
        for line in source:
            sink.write(line)
            size += len(line)
            if size >= least:
                break
    return target


def _longest(features: list[Any]) -> int:
    """Padded tokens of the longest input of a task."""
    choices = max(len(feature.sequences) for feature in features)
    return choices * max(len(ids) for feature in features for ids, _ in feature.sequences)
