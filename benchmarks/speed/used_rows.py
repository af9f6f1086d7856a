#!/usr/bin/env python3
"""What a stage gains by training those rows of the token embeddings alone that its texts use.

    python benchmarks/speed/used_rows.py -c CONFIG [-o KEY=VALUE ...] [--steps 30] [--threads 2]

Takes the last stage of a run on its first task twice, with the rows in use and with the whole table, and steps both in
turn on the same batches in one process. Quote the ratios. What the stage goes on from has to be trained, in base_run.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ernie_tiny.cli.arguments import above, add_overrides
from ernie_tiny.config import load_config
from ernie_tiny.runtime import prepare

WARM_UP = 3  # steps that are not counted


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-c", "--config", type=Path, required=True)
    parser.add_argument("--steps", type=above(0), default=30)
    parser.add_argument("--threads", type=above(0), default=2)
    add_overrides(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    prepare("cpu", args.threads)  # before Paddle is imported
    with tempfile.TemporaryDirectory() as folder:
        run = load_config(args.config, [*args.override, f"output_dir={folder}"])
        steppers = {name: stepper(run, Path(folder) / name, name == "in use") for name in ("whole table", "in use")}
        batches = [steppers["in use"].stream.next_batch() for _ in range(args.steps + WARM_UP)]
        seconds = [[sum(each.time_step(batch)) for each in steppers.values()] for batch in batches][WARM_UP:]
    for (name, each), times in zip(steppers.items(), zip(*seconds)):
        rows = each.network.model.encoder.embeddings.word_embeddings.weight.shape[0]
        print(f"{name}, {rows:,} rows: {1000 * statistics.median(times):.1f} ms a step")
    ratios = sorted(whole / used for whole, used in seconds)
    print(f"whole table / in use: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


def stepper(run: Any, folder: Path, used_rows: bool) -> Any:
    """What takes single steps of the stage, on whatever batch it is given."""
    import paddle

    from ernie_tiny.runs.calibration import TimedLoop
    from ernie_tiny.training.loop import LoopSettings
    from ernie_tiny.training.network import StageNetwork
    from ernie_tiny.training.stage import prepare_stage
    from ernie_tiny.training.workspace import Workspace

    stage = run.stages[-1]
    task = stage.data.tasks[0] if stage.per_task else None
    # Two networks in one process need names of their own.
    with (
        paddle.utils.unique_name.guard(folder.name),
        patch.object(
            StageNetwork, "train_used_rows", StageNetwork.train_used_rows if used_rows else lambda network, ids: False
        ),
    ):
        prepared = prepare_stage(Workspace(run), stage.of_task(task), task, folder)
    settings = LoopSettings(folder, prepared.steps, 0, stage.optim, run.runtime)
    return TimedLoop(prepared, prepared.teacher, settings, time.perf_counter)


if __name__ == "__main__":
    main()
