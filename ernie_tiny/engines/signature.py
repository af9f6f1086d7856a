"""What a network takes and gives, as far as whoever runs it must know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Callable, Optional

from ernie_tiny.batch import Array, Batch

Engine = Callable[[Batch], dict[str, Array]]


@dataclass(frozen=True)
class Signature:
    """The inputs are those of ernie_tiny.engines.export.INPUTS, each [rows, length].

    Attributes:
        outputs: Name of each output, in their order, to which of its axes is the tokens'; None where it has none. The
            first axis is the rows' in all of them.
        longest: Tokens of the longest input; None where there is no limit.
    """

    outputs: Mapping[str, Optional[int]]
    longest: Optional[int] = None
