"""How fast an exported model answers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ernie_tiny.batch import Batch
from ernie_tiny.data.tokenizer import load_tokenizer
from ernie_tiny.engines import Engine, load
from ernie_tiny.serving.predictor import LOGITS


@dataclass(frozen=True)
class Speed:
    """Latency of one input and throughput of a batch, network only, tokenisation left out.

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


def measure(
    folders: list[Path], length: int = 64, batch_size: int = 32, threads: int = 1, calls: int = 40
) -> list[Speed]:
    """The speeds of exported models, measured in turn, call by call, so that a drift of the machine hits all alike."""
    engines = [load(folder, LOGITS, threads=threads) for folder in folders]
    vocabularies = [load_tokenizer(folder).vocab_size for folder in folders]
    singles = [_random_batch(1, length, size) for size in vocabularies]
    batches = [_random_batch(batch_size, length, size) for size in vocabularies]
    latencies: list[list[float]] = [[] for _ in folders]
    batch_seconds: list[list[float]] = [[] for _ in folders]
    for call in range(calls + 2):
        for index, engine in enumerate(engines):
            seconds = _timed(engine, singles[index])
            if call >= 2:  # the first calls choose kernels and allocate
                latencies[index].append(seconds * 1000)
    for call in range(5):
        for index, engine in enumerate(engines):
            seconds = _timed(engine, batches[index])
            if call >= 1:
                batch_seconds[index].append(seconds)
    return [
        Speed(
            p50=round(float(np.percentile(times, 50)), 3),
            p95=round(float(np.percentile(times, 95)), 3),
            throughput=round(batch_size / float(np.median(seconds)), 1),
            length=length,
            batch_size=batch_size,
            threads=threads,
        )
        for times, seconds in zip(latencies, batch_seconds)
    ]


def _timed(engine: Engine, batch: Batch) -> float:
    start = time.perf_counter()
    engine(batch)
    return time.perf_counter() - start


def _random_batch(rows: int, length: int, vocab_size: int) -> Batch:
    ids = np.random.default_rng(0).integers(5, vocab_size, (rows, length))
    return Batch("", ("",) * rows, ids, np.zeros_like(ids), np.ones_like(ids))


def megabytes(folder: Path) -> float:
    """Size of an exported network on disk, in 10^6 bytes."""
    return round(sum(file.stat().st_size for file in folder.glob("model.*")) / 1e6, 2)
