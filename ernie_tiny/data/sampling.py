"""Multi-task sampling: how often a task is trained on, and the endless stream of its batches."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Optional

import numpy as np

from ernie_tiny.batch import Array, Batch, Feature
from ernie_tiny.data.batching import collate, plan_batches, smallest_batch
from ernie_tiny.errors import InputError


def sampling_weights(
    sizes: Mapping[str, int],
    strategy: str,
    exponent: float = 0.5,
    weights: Mapping[str, float] = MappingProxyType({}),
) -> dict[str, float]:
    """The probability of each task, in the order of `sizes`; they sum to 1. The config's checks hold.

    Args:
        sizes: Training features of each task.
        strategy: "proportional" to the size n (MT-DNN, arXiv 1901.11504, algorithm 1), "temperature":
            p ~ n ** exponent (the alpha of mT5, arXiv 2010.11934; T5's temperature is 1 / exponent),
            "uniform", or "explicit": proportional to `weights`.
        exponent: Of "temperature" alone: 1 is proportional, 0 is uniform.
        weights: Of "explicit" alone: a positive number for each task.
    Raises:
        InputError: An empty task.
    """
    for task, size in sizes.items():
        if size < 1:
            raise InputError(f"sampling: the task {task} has {size} training features. Take it out.")
    if strategy == "explicit":
        scores = {task: weights[task] for task in sizes}
    elif strategy == "temperature":
        largest = max(sizes.values())
        scores = {task: (size / largest) ** exponent for task, size in sizes.items()}
    else:
        scores = {task: float(size) if strategy == "proportional" else 1.0 for task, size in sizes.items()}
    total = math.fsum(scores.values())
    return {task: score / total for task, score in scores.items()}


class TaskStream:
    """An endless stream of batches, each of one task.

    The task of step i is drawn with a generator keyed by (seed, i), and a task's batches follow plan_batches,
    keyed by (seed, task, epoch). So the order is a function of the seed and of a position: the step, and for
    each task its epoch and the batch in it. It is the same for any number of processes and any order of the
    tasks in a config. Going to a position takes one plan a task, however far it is.

    Args:
        features: The training features of each task.
        weights: The probability of each task, as sampling_weights gives them.
        seed: Not negative.
        batch_size, max_tokens: Exactly one; the size of a *global* batch, that of all processes together.
            Of a choice feature every sequence counts, as if it had as many candidates as any of its task.
        pad_id: The id of [PAD].
        rank, world_size: This process gets the features rank::world_size of each global batch.
    Attributes:
        batches_per_epoch: Batches that hold every feature of every task once; under max_tokens epochs differ by a few.
    Raises:
        InputError: A batch could be too small to give every process a feature, or as plan_batches.
    """

    def __init__(
        self,
        features: Mapping[str, Sequence[Feature]],
        weights: Mapping[str, float],
        seed: int,
        batch_size: Optional[int],
        max_tokens: Optional[int],
        pad_id: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._tasks = sorted(features)
        self._features, self._seed, self._pad_id = features, seed, pad_id
        self._bounds = np.cumsum([weights[task] for task in self._tasks])[:-1]
        self._batch_size, self._max_tokens = batch_size, max_tokens
        self._rank, self._world_size = rank, world_size
        self._lengths = {task: _padded_lengths(features[task]) for task in self._tasks}
        for task in self._tasks:
            self._check_size(task)
        self._step = 0
        self._places = {task: [0, 0] for task in self._tasks}  # epoch, batch in it
        self._plans = {task: (0, self._plan(task, 0)) for task in self._tasks}
        self.batches_per_epoch = sum(len(plan) for _, plan in self._plans.values())

    def features(self) -> Iterator[Feature]:
        """Every feature of every task, of all processes."""
        for task in self._tasks:
            yield from self._features[task]

    def next_batch(self) -> Batch:
        """This process's part of the next global batch."""
        draw = np.random.default_rng([self._seed, self._step]).random()
        task = self._tasks[int(np.searchsorted(self._bounds, draw, side="right"))]
        indices = self._next_indices(task)[self._rank :: self._world_size]
        self._step += 1
        return collate([self._features[task][index] for index in indices], task, self._pad_id)

    def all_inputs(self, batches: int) -> Iterator[Batch]:
        """This process's share of all features, each once, in batches of similar length; the position stays.

        However many batches a stage takes, it meets no other inputs.
        """
        for task in self._tasks:
            features = self._features[task]
            plan = plan_batches(self._lengths[task], 0, 0, self._batch_size, self._max_tokens, shuffle=False)
            for indices in plan[self._rank :: self._world_size]:
                yield collate([features[index] for index in indices], task, self._pad_id)

    def state_dict(self) -> dict[str, Any]:
        """The position, as numbers that JSON can hold; the same in every process."""
        return {"step": self._step, "places": dict(self._places)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes to a position; one behind the end of an epoch, which had more batches, is the begin of the next.

        Raises:
            InputError: It is a position in other tasks.
        """
        if sorted(state["places"]) != self._tasks:
            raise InputError(
                f"the checkpoint is of the tasks {', '.join(sorted(state['places']))}, this stage has "
                f"{', '.join(self._tasks)}. Restore the config, or delete the stage's folder to start anew."
            )
        self._step = state["step"]
        self._places = {
            task: [epoch, number] if number < len(self._plan(task, epoch)) else [epoch + 1, 0]
            for task, (epoch, number) in state["places"].items()
        }

    def _next_indices(self, task: str) -> Array:
        epoch, number = self._places[task]
        if self._plans[task][0] != epoch:
            self._plans[task] = (epoch, self._plan(task, epoch))
        plan = self._plans[task][1]
        self._places[task] = [epoch, number + 1] if number + 1 < len(plan) else [epoch + 1, 0]
        return plan[number]

    def _plan(self, task: str, epoch: int) -> list[Array]:
        seed = zlib.crc32(f"{self._seed}/{task}".encode())
        return plan_batches(self._lengths[task], seed, epoch, self._batch_size, self._max_tokens)

    def _check_size(self, task: str) -> None:
        smallest = smallest_batch(self._lengths[task], self._batch_size, self._max_tokens)
        if smallest < self._world_size:
            size = f"batch_size = {self._batch_size}"
            if self._batch_size is None:
                longest = int(self._lengths[task].max(initial=0))
                size = f"max_tokens = {self._max_tokens} (longest input: {longest} tokens)"
            raise InputError(
                f"{size}: a batch of {task} ({len(self._features[task])} training features) may hold as few "
                f"as {smallest}, too few for {self._world_size} processes. Raise it, or use fewer processes."
            )


def _padded_lengths(features: Sequence[Feature]) -> Array:
    num_choices = max((len(feature.sequences) for feature in features), default=1)
    longest = [max(len(ids) for ids, _ in feature.sequences) for feature in features]
    return np.array(longest, np.int64) * num_choices
