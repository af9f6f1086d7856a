"""How sure the gain of one arm over another is, over the choice of examples and of seeds."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Optional

import numpy as np

from benchmarks.quality.judging import draws_of
from benchmarks.quality.real_teacher.arms import common_seeds, of_seed
from ernie_tiny.batch import Array
from ernie_tiny.evaluation.statistics import ScoreOf, paired_interval


def packed(right: Array) -> str:
    """Which examples are right (bool [examples]), eight to a byte, as base64."""
    return base64.b64encode(np.packbits(right).tobytes()).decode("ascii")


def unpacked(text: str, examples: int) -> Array:
    """The opposite of packed."""
    return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=examples).astype(bool)


def interval(study: Mapping[str, Any], above: str, below: str, tasks: Sequence[str]) -> Optional[tuple[float, float]]:
    """The ends of the interval over the seeds with which both arms have every task; None where there are none."""
    seeds = [
        seed for seed in common_seeds(study, above, below)
        if all(set(tasks) <= set(_right(study, arm, seed)) for arm in (above, below))
    ]  # fmt: skip
    if not seeds or not tasks:
        return None
    draws = draws_of(tasks)
    pairs = {
        name: [(_mean(study, above, seed, alike), _mean(study, below, seed, alike)) for seed in seeds]
        for name, alike in draws.items()
    }
    return paired_interval(pairs, {name: study["examples"][alike[0]] for name, alike in draws.items()})


def _right(study: Mapping[str, Any], arm: str, seed: str) -> Mapping[str, str]:
    found: Mapping[str, str] = study["arms"][arm]["seeds"][of_seed(arm, seed)]["right"]
    return found


def _mean(study: Mapping[str, Any], arm: str, seed: str, draws: Sequence[str]) -> ScoreOf:
    """The percentage that is right, as the mean over a task's draws, which share their dev set."""
    right = _right(study, arm, seed)
    table = np.mean([unpacked(right[task], study["examples"][task]) for task in draws], axis=0)
    return lambda chosen: 100 * float(table[chosen].mean())
