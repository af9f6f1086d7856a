"""How fast exported models answer: engines, precisions and shapes of input, measured in turn in one run."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, NamedTuple

import numpy as np

from ernie_tiny.batch import Batch
from ernie_tiny.data.tokenizer import load_tokenizer
from ernie_tiny.engine_facts import Form
from ernie_tiny.engines import Engine
from ernie_tiny.errors import InputError, first_line
from ernie_tiny.serving.exported import load_form, network_files

WARM_UP = 2  # calls of each before those that count: they choose kernels and allocate
ROUNDS = 3  # in which the candidates take turns
FEWEST, MOST = 2, 200  # calls of a round that count, after one that does not
REST = 0.25  # seconds: an engine's threads wait for its next call before they sleep, OpenMP's for 0.2


class Cell(NamedTuple):
    """A shape of input: rows of so many tokens each, none of them padding."""

    rows: int
    length: int


@dataclass(frozen=True)
class Timing:
    """One engine with one network on one shape of input, network only: tokenisation and decoding are left out.

    Attributes:
        p50, p95, p99: Milliseconds a call.
        calls: That were counted.
        best: The median of the round in which it was lowest: what others do on the machine only adds to it.
    """

    cell: Cell
    p50: float
    p95: float
    p99: float
    calls: int
    best: float

    @property
    def texts_per_second(self) -> float:
        """Rows a second, at the median call."""
        return self.cell.rows * 1000 / self.p50

    @property
    def tokens_per_second(self) -> float:
        """Tokens a second, at the median call."""
        return self.texts_per_second * self.cell.length


class Candidate:
    """A form of an exported folder, loaded, to be timed.

    Attributes:
        form: Engine and precision.
        load_seconds: Until the engine was ready.
        bytes: Of its files.
    """

    def __init__(self, folder: Path, form: Form, threads: int) -> None:
        began = time.perf_counter()
        self.form = form
        self.engine = self._load(folder, threads)
        self.load_seconds = time.perf_counter() - began
        self.bytes = sum(file.stat().st_size for file in self._files(folder))
        self._vocab_size = load_tokenizer(folder).vocab_size

    def _load(self, folder: Path, threads: int) -> Engine:
        return load_form(folder, self.form, threads)

    def _files(self, folder: Path) -> Iterable[Path]:
        return network_files(folder, self.form)

    def answers(self, cell: Cell) -> Form:
        """Engine and precision that answer the shape."""
        return self.form

    def call(self, cell: Cell) -> Callable[[], object]:
        """What answers one made-up batch of the shape, the same one every time."""
        ids = np.random.default_rng(0).integers(5, self._vocab_size, cell)
        batch = Batch("", ("",) * cell.rows, ids, np.zeros_like(ids), np.ones_like(ids))
        return lambda: self.engine(batch)


def timings(
    candidates: Mapping[str, Candidate], cells: Sequence[Cell], seconds: float = 2.0
) -> dict[str, list[Timing]]:
    """Each candidate's timings, a cell each, by the candidate's name.

    The candidates take turns, so that a drift of the machine hits all alike: some calls of one, a rest, some of the
    next. Were they called one by one in turn, each would share the cores with threads of the one before that still
    wait for more. A round goes through all cells: a machine can be slow for half a minute, for some forms
    more than for others, and that should not be all rounds of a cell.

    Args:
        seconds: That the calls of a cell take for each candidate, roughly; at least FEWEST calls a round, at most MOST.
    Raises:
        InputError: a network cannot answer inputs so long.
    """
    rest = REST if len({candidate.form[0] for candidate in candidates.values()}) > 1 else 0
    calls = {cell: {name: candidate.call(cell) for name, candidate in candidates.items()} for cell in cells}
    own = {cell: {name: _warm(call, cell) for name, call in each.items()} for cell, each in calls.items()}
    rounds: dict[tuple[Cell, str], list[list[float]]] = {(cell, name): [] for cell in cells for name in candidates}
    for _ in range(ROUNDS):
        for cell, each in calls.items():
            for name, call in each.items():
                time.sleep(rest)
                call()
                count = int(min(MOST, max(FEWEST, seconds / ROUNDS / own[cell][name])))
                rounds[cell, name].append([_seconds(call) * 1000 for _ in range(count)])
    return {name: [_timing(cell, rounds[cell, name]) for cell in cells] for name in candidates}


def _warm(call: Callable[[], object], cell: Cell) -> float:
    try:
        return min(_seconds(call) for _ in range(WARM_UP))
    except Exception as error:  # each engine raises its own
        raise InputError(
            f"inputs of {cell.length} tokens cannot be answered: {first_line(error)}. "
            "Take a shorter length, within the model's positions."
        ) from error


def _timing(cell: Cell, rounds: Sequence[Sequence[float]]) -> Timing:
    taken = [milliseconds for each in rounds for milliseconds in each]
    p50, p95, p99 = (round(float(part), 3) for part in np.percentile(taken, (50, 95, 99)))
    return Timing(cell, p50, p95, p99, len(taken), round(min(float(np.median(each)) for each in rounds), 3))


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
