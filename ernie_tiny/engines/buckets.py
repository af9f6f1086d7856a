"""Inputs padded to one of few shapes, and outputs cut back, for an engine that each new shape costs time and memory."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Optional

import numpy as np

from ernie_tiny.batch import Array, Batch
from ernie_tiny.engines.signature import Engine, Signature

FIRST_LENGTH, STEP, LENGTHS = 16, 8, 8  # a multiple of 8; from 64 on eight lengths from one power of two to the next
UNLIMITED = 1024  # the longest of a network that reads any length
MOST_ROWS, ROWS = 65536, 4  # four numbers of rows from one power of two to the next: at most a quarter is padding


class Buckets:
    """The shapes of input.

    No two have the same digits, as 3 rows of 224 tokens and 32 rows of 24 would: Paddle (3.3.1) knows oneDNN's kernels
    by the digits of a shape one behind the other, and takes one of another shape that has the same, which fails. Some
    numbers of rows are left out for it where inputs may have 200 tokens and more; below 600 no power of two is.

    Attributes:
        lengths, rows: All that there are, rising. An input above the last one is left as it is.
    """

    def __init__(self, longest: Optional[int]) -> None:
        self.lengths = tuple(_sizes(FIRST_LENGTH, longest or UNLIMITED, LENGTHS, STEP))
        taken: set[str] = set()
        kept = []
        for rows in sorted(_sizes(1, MOST_ROWS, ROWS), key=lambda rows: rows & (rows - 1) != 0):
            digits = {f"{rows}{length}" for length in self.lengths}
            if taken.isdisjoint(digits):
                taken |= digits
                kept.append(rows)
        self.rows = tuple(sorted(kept))

    def __call__(self, rows: int, length: int) -> tuple[int, int]:
        """The smallest shape that holds so many rows of so many tokens."""
        return _at_least(rows, self.rows), _at_least(length, self.lengths)


def in_buckets(engine: Engine, signature: Signature) -> Engine:
    """An engine that gives the same and is asked in the shapes of Buckets alone.

    A row is padded as a batch pads it, and further rows are copies of the last one, so that each has a token to attend
    to: nothing in it depends on them.
    """
    buckets = Buckets(signature.longest)

    def run(batch: Batch) -> dict[str, Array]:
        rows, length = batch.input_ids.shape
        shape = buckets(rows, length)
        if shape == (rows, length):
            return engine(batch)
        arrays = [_padded(array, shape) for array in (batch.input_ids, batch.token_type_ids, batch.attention_mask)]
        found = engine(Batch(batch.task, (), arrays[0], arrays[1], arrays[2]))
        return {name: _cut(found[name], axis, rows, length) for name, axis in signature.outputs.items()}

    return run


def _sizes(first: int, last: int, steps: int, least: int = 1) -> Iterator[int]:
    """first to last, so many from one power of two to the next, and no two closer than `least`."""
    size = first
    while size < last:
        yield size
        size += max(least, 2 ** (size.bit_length() - 1) // steps)
    yield last


def _at_least(wanted: int, sizes: Sequence[int]) -> int:
    place = bisect_left(sizes, wanted)
    return sizes[place] if place < len(sizes) else wanted


def _padded(array: Array, shape: tuple[int, int]) -> Array:
    rows, length = array.shape
    padded = np.zeros(shape, array.dtype)
    padded[:rows, :length] = array
    padded[rows:, :length] = array[-1]
    return padded


def _cut(array: Array, axis: Optional[int], rows: int, length: int) -> Array:
    cuts = [slice(rows)] if axis is None else [slice(rows), *[slice(None)] * (axis - 1), slice(length)]
    return array[tuple(cuts)]
