"""What a run takes in hours: the arithmetic from what was measured of its stages. Paddle is not needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Optional

import numpy as np

HOUR, MINUTE = 3600.0, 60.0


@dataclass(frozen=True)
class Work:
    """How often a stage does what it does.

    Attributes:
        steps: Optimizer steps, of `accumulate` batches each.
        cached: Batches whose teacher's signals are written before the first step; 0 without a cache.
        evaluations: Passes over dev, that at the stage's end included.
        saves: Times that weights are written.
    """

    steps: int
    accumulate: int
    cached: float
    evaluations: int
    saves: int


@dataclass(frozen=True)
class Measured:
    """What the parts of a stage take on this machine, in seconds.

    Attributes:
        prepare: Models built or loaded and all examples tokenised.
        batch: A mean batch drawn, forward and backward, the teacher's signals computed or read.
        update: The rest of an optimizer step.
        cache: The teacher's signals of a mean batch computed and written.
        evaluation: All trained models scored on the dev examples of all tasks.
        save: A checkpoint.
        tokens: Real tokens of a mean batch.
        spread: Half the range of a mean batch's seconds over repeated measurements, over their median; None where
            there was time for one.
    """

    prepare: float
    batch: float
    update: float
    cache: float
    evaluation: float
    save: float
    tokens: float
    spread: Optional[float]


@dataclass(frozen=True)
class StageCost:
    """The hours of a stage, or of one task of a stage that runs per task (its name stands behind a slash)."""

    title: str
    steps: int
    tokens: float
    prepare: float
    cache: float
    train: float
    evaluate: float
    save: float
    spread: Optional[float]

    @property
    def hours(self) -> float:
        """All of it."""
        return self.prepare + self.cache + self.train + self.evaluate + self.save


@dataclass(frozen=True)
class Cost:
    """The hours of a run on one process of this machine; start-up, exports and their timing are not in it.

    Attributes:
        prepare: Vocabulary and general text made, before the stages.
        score: The report's models scored on dev, after them.
        processor: What it was measured on.
        measured: Seconds that measuring took.
    """

    stages: tuple[StageCost, ...]
    prepare: float
    score: float
    processor: str
    measured: float

    @property
    def hours(self) -> float:
        """Of the whole run."""
        return self.prepare + sum(stage.hours for stage in self.stages) + self.score

    @property
    def uncertainty(self) -> Optional[float]:
        """The stages' spreads, each weighted with its hours of training; None where no stage was timed twice."""
        known = [(stage.spread, stage.train) for stage in self.stages if stage.spread is not None]
        hours = sum(train for _, train in known)
        return sum(spread * train for spread, train in known) / hours if hours else None


def stage_cost(title: str, work: Work, measured: Measured) -> StageCost:
    """What a stage takes that does this much of what was measured."""
    return StageCost(
        title,
        work.steps,
        work.steps * work.accumulate * measured.tokens,
        measured.prepare / HOUR,
        work.cached * measured.cache / HOUR,
        work.steps * (work.accumulate * measured.batch + measured.update) / HOUR,
        work.evaluations * measured.evaluation / HOUR,
        work.saves * measured.save / HOUR,
        measured.spread,
    )


def strata(tokens: Sequence[int], parts: int) -> list[tuple[int, float]]:
    """Batches that stand for others: (index, mean tokens) of each of so many parts of equal size, by padded tokens.

    The index is that of a part's middle batch, the mean that over the part. Fewer batches than parts stand for
    themselves.
    """
    order = np.argsort(np.array(tokens), kind="stable")
    groups = np.array_split(order, min(parts, len(order)))
    return [(int(group[len(group) // 2]), float(np.mean([tokens[index] for index in group]))) for group in groups]


def mean_seconds(seconds: Sequence[float], measured: Sequence[int], wanted: Sequence[float]) -> float:
    """What a batch takes in the mean over strata of which one batch each was timed.

    Args:
        seconds, measured: Of the timed batches, with their padded tokens.
        wanted: Mean padded tokens of the batches that each stands for.
    """
    return float(np.mean([taken * goal / own for taken, own, goal in zip(seconds, measured, wanted)]))


def cost_lines(cost: Cost) -> Iterator[str]:
    """The cost as the plan shows it."""
    yield f"hours, by {cost.measured:.0f} seconds of measuring on {cost.processor}, one process"
    rows = [*cost.stages]
    width = max((len(stage.title) for stage in rows), default=0)
    if cost.prepare:
        yield f"  {'vocabulary, general text':<{width}} {_duration(cost.prepare)}"
    for stage in rows:
        parts = {
            "training": stage.train,
            "preparing": stage.prepare,
            "teacher's cache": stage.cache,
            "scoring": stage.evaluate,
            "saving": stage.save,
        }
        shown = ", ".join(f"{name} {_duration(hours).strip()}" for name, hours in parts.items() if hours * HOUR >= 0.1)
        per_second = stage.tokens / (stage.train * HOUR) if stage.train else 0.0
        yield (
            f"  {stage.title:<{width}} {_duration(stage.hours)}: {stage.steps:,} steps at {per_second:,.0f} tokens a "
            f"second; {shown}{'' if stage.spread is not None else '; timed once'}"
        )
    if cost.score:
        yield f"  {'final scores':<{width}} {_duration(cost.score)}"
    yield f"  {'in total':<{width}} {_duration(cost.hours)}"
    spread = cost.uncertainty
    told = f"repeated steps differ by ± {100 * spread:.0f} %" if spread is not None else "every stage was timed once"
    yield f"  {told}; other work on the machine adds to that. Start-up and exports are not in it."


def _duration(hours: float) -> str:
    if hours >= 1:
        return f"{hours:6.2f} h"
    return f"{hours * 60:6.1f} min" if hours * HOUR >= MINUTE else f"{hours * HOUR:6.1f} s"
