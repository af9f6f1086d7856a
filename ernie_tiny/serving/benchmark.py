"""How fast exported models answer: engines, precisions and shapes of input, measured in turn in one run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, NamedTuple

import numpy as np

from ernie_tiny.batch import Batch
from ernie_tiny.data.tokenizer import load_tokenizer
from ernie_tiny.engine_facts import Form
from ernie_tiny.engines import load
from ernie_tiny.engines.export import MODEL_PREFIX
from ernie_tiny.engines.onnx_file import FILES
from ernie_tiny.errors import InputError
from ernie_tiny.serving.predictor import LOGITS, PADDLE

WARM_UP = 2  # calls of each before those that count: they choose kernels and allocate
FEWEST, MOST = 5, 200  # calls that count


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
    """

    cell: Cell
    p50: float
    p95: float
    p99: float
    calls: int

    @property
    def texts_per_second(self) -> float:
        """Rows a second, at the median call."""
        return self.cell.rows * 1000 / self.p50

    @property
    def tokens_per_second(self) -> float:
        """Tokens a second, at the median call."""
        return self.texts_per_second * self.cell.length


@dataclass(frozen=True)
class Speed:
    """Latency of one input and throughput of a batch, as Timing has them.

    Attributes:
        p50, p95: Milliseconds a call at batch size 1.
        throughput: Inputs a second at batch size `batch_size`.
        length: Tokens of every input.
        threads: CPU threads.
    """

    p50: float
    p95: float
    throughput: float
    length: int
    batch_size: int
    threads: int


class Candidate:
    """A form of an exported folder, loaded, to be timed.

    Attributes:
        load_seconds: Until the engine was ready.
        bytes: Of its files.
    """

    def __init__(self, folder: Path, form: Form, threads: int) -> None:
        began = time.perf_counter()
        self.engine = load(folder, LOGITS, *form, threads)
        self.load_seconds = time.perf_counter() - began
        self.bytes = sum(file.stat().st_size for file in network_files(folder, form))
        self._vocab_size = load_tokenizer(folder).vocab_size

    def call(self, cell: Cell) -> Callable[[], object]:
        """What answers one made-up batch of the shape, the same one every time."""
        ids = np.random.default_rng(0).integers(5, self._vocab_size, cell)
        batch = Batch("", ("",) * cell.rows, ids, np.zeros_like(ids), np.ones_like(ids))
        return lambda: self.engine(batch)


def network_files(folder: Path, form: Form) -> list[Path]:
    """The files that a form is read from."""
    engine, precision = form
    if engine == PADDLE[0]:
        return [folder / f"{MODEL_PREFIX}.json", folder / f"{MODEL_PREFIX}.pdiparams"]
    return [folder / FILES[precision]]


def megabytes(folder: Path, form: Form = PADDLE) -> float:
    """Size of a network on disk, in 10^6 bytes."""
    return round(sum(file.stat().st_size for file in network_files(folder, form)) / 1e6, 2)


def timings(
    candidates: Mapping[str, Candidate], cells: Sequence[Cell], seconds: float = 2.0
) -> dict[str, list[Timing]]:
    """Each candidate's timings, a cell each, by the candidate's name.

    Within a cell the candidates are called in turn, call by call, so that a drift of the machine hits all alike.

    Args:
        seconds: That the calls of a cell take for each candidate, roughly; at least FEWEST calls, at most MOST.
    Raises:
        InputError: a network cannot answer inputs so long.
    """
    found: dict[str, list[Timing]] = {name: [] for name in candidates}
    for cell in cells:
        calls = {name: candidate.call(cell) for name, candidate in candidates.items()}
        taken: dict[str, list[float]] = {name: [] for name in calls}
        try:
            slowest = max(_seconds(call) for _ in range(WARM_UP) for call in calls.values())
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"inputs of {cell.length} tokens cannot be answered: {str(error).strip().splitlines()[0][:200]}. "
                "Take a shorter length, within the model's positions."
            ) from error
        for _ in range(int(min(MOST, max(FEWEST, seconds / slowest)))):
            for name, call in calls.items():
                taken[name].append(_seconds(call) * 1000)
        for name, milliseconds in taken.items():
            p50, p95, p99 = (round(float(part), 3) for part in np.percentile(milliseconds, (50, 95, 99)))
            found[name].append(Timing(cell, p50, p95, p99, len(milliseconds)))
    return found


def measure(
    folders: Sequence[Path], length: int = 64, batch_size: int = 32, threads: int = 1, seconds: float = 1.0
) -> list[Speed]:
    """The speeds of exported models on Paddle Inference in float32, measured in turn."""
    candidates = {str(folder): Candidate(folder, PADDLE, threads) for folder in folders}
    found = timings(candidates, [Cell(1, length), Cell(batch_size, length)], seconds) if candidates else {}
    return [
        Speed(single.p50, single.p95, round(batch.texts_per_second, 1), length, batch_size, threads)
        for single, batch in found.values()
    ]


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
