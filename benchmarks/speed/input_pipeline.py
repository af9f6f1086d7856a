#!/usr/bin/env python3
"""What the input costs, from raw files to batches, with nothing tokenised before: input_pipeline.py --data DIR ...

    python benchmarks/speed/input_pipeline.py --data DIR --vocabulary FILE [--threads 2] [-o KEY=VALUE ...]

A line for the general text of MITKD and one for the tasks of a multi-task fine-tuning, of the configs in
against_pytorch/: real tokens a second of one core (processor time, so that another process's work does not count), what
part of the computed tokens are real, and the milliseconds of a core that a step's input takes: divide them by a step's
time for the share.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ernie_tiny.config import load_config
from ernie_tiny.files import to_json
from ernie_tiny.report.tables import Table
from ernie_tiny.runtime import prepare, processor

CONFIGS = Path(__file__).with_name("against_pytorch")
STAGES = ("distil", "finetune")  # each the last of the config of its name


class Cost(NamedTuple):
    """What it took to make batches of a stage's data.

    Attributes:
        real, computed: Tokens of the batches, without and with padding.
        available: Real tokens of the raw files, each of which was tokenised once.
        reading, batching: Processor seconds: of reading and tokenising all, of drawing the batches.
        batches: Number drawn.
    """

    real: int
    computed: int
    available: int
    reading: float
    batching: float
    batches: int

    @property
    def seconds(self) -> float:
        """Processor seconds of a real token."""
        return self.reading / self.available + self.batching / self.real


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="data root")
    parser.add_argument("--vocabulary", required=True, help="ERNIE 3.0's vocab.txt")
    parser.add_argument("--batches", type=int, default=1000, help="drawn of each")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("-o", "--override", nargs="+", default=[], metavar="KEY=VALUE")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    prepare("cpu", args.threads)
    shared = [f"data.root={to_json(str(args.data))}", f"tokenizer.vocab={to_json(args.vocabulary)}"]
    rows = []
    for name in STAGES:
        with tempfile.TemporaryDirectory() as folder:
            run = load_config(CONFIGS / f"{name}.yaml", [*shared, *args.override, f"output_dir={to_json(folder)}"])
            rows.append(row(name, measure(run, run.stages[-1], args.batches)))
    print(f"{processor().name}\n")
    header = ["stage", "real tokens a second of a core", "real of computed", "milliseconds of a core a step"]
    print(Table(header, [rows]).markdown())


def row(name: str, cost: Cost) -> list[str]:
    step = 1000 * cost.seconds * cost.real / cost.batches
    return [name, f"{1 / cost.seconds:,.0f}", f"{cost.real / cost.computed:.1%}", f"{step:.1f}"]


def measure(run: Any, stage: Any, batches: int) -> Cost:
    """What the batches of a stage cost, by the functions that training calls."""
    from paddlenlp.data import indexed_dataset  # noqa: F401  imported before the clock runs

    from ernie_tiny.data.corpus import RECORD_FILE
    from ernie_tiny.training.streams import corpus_stream, task_stream
    from ernie_tiny.training.workspace import Workspace

    workspace = Workspace(run)
    workspace.tokenizer.encode("made when it is first asked for")
    start = time.process_time()
    stream: Any
    if stage.data.corpus is None:
        stream = task_stream(workspace, stage, stage.data.tasks, run.seed)
    else:
        stream = corpus_stream(workspace, stage, run.seed)
    reading = time.process_time() - start
    if stage.data.corpus is None:
        available = sum(batch.num_tokens for batch in stream.all_inputs(batches))
    else:
        record = workspace.corpus(stage.data.corpus) / RECORD_FILE
        available = int(json.loads(record.read_text(encoding="utf-8"))["tokens"])
    start = time.process_time()
    drawn = [stream.next_batch() for _ in range(batches)]
    batching = time.process_time() - start
    real, computed = sum(batch.num_tokens for batch in drawn), sum(batch.input_ids.size for batch in drawn)
    return Cost(real, computed, available, reading, batching, batches)


if __name__ == "__main__":
    main()
