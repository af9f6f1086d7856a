"""The batches of one optimizer step, and what each of them weighs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Callable, Optional, Protocol

from paddle import Tensor

from ernie_tiny import processes
from ernie_tiny.batch import Batch

Shares = Mapping[str, Tensor]  # of Objective.forward


class Batches(Protocol):
    """What a step draws from."""

    def next_batch(self) -> Batch: ...


@dataclass(frozen=True)
class Step:
    """One optimizer step's batches of this process.

    Attributes:
        parts: Each batch with its factor for each term: what the term counts in it, over the mean count of all batches
            of the step in all processes. The mean of the batches' losses and gradients is then that of one large
            batch. None where there is one batch and one process.
        tokens: int64 scalar, real tokens of all batches in all processes.
        told: int64 scalar, how many processes were told to stop before the step.
    """

    parts: tuple[tuple[Batch, Optional[Shares]], ...]
    tokens: Tensor
    told: Tensor


def draw_step(
    stream: Batches, counts_of: Callable[[Batch], Mapping[str, int]], accumulate: int, told_to_stop: bool
) -> Step:
    """The next `accumulate` batches of a stream: all of them, since what one weighs depends on the others.

    Args:
        counts_of: How many things each term is the mean of in a batch; the same terms for each.
        told_to_stop: Whether this process is to stop.
    """
    batches = [stream.next_batch() for _ in range(accumulate)]
    counts = [counts_of(batch) for batch in batches]
    tokens = sum(batch.num_tokens for batch in batches)
    totals = processes.total([*(sum(found[name] for found in counts) for name in counts[0]), tokens, told_to_stop])
    shares: list[Optional[Shares]] = [None] * accumulate
    if accumulate * processes.world_size() > 1:
        means = dict(zip(counts[0], totals.astype("float32") / (accumulate * processes.world_size())))
        shares = [{name: count / means[name] for name, count in found.items()} for found in counts]
    return Step(tuple(zip(batches, shares)), totals[-2], totals[-1])
