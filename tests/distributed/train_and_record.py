"""Runs a config as tools/train.py does, and writes down which examples each step of each process held.

python train_and_record.py CONFIG RECORD [--fail STAGE STEP RANK HOW]
RECORD.<rank> gets a line "stage step id id ..." a batch. Before that step in that process, HOW "kill" ends the process
with SIGKILL, and "stop" sends SIGTERM to its launcher.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ernie_tiny.cli.arguments import show_log
from ernie_tiny.config import load_config
from ernie_tiny.runtime import prepare, run_tool


def main() -> None:
    config, record, *failure = sys.argv[1:]
    show_log()
    run = load_config(config, [])
    prepare(run.runtime.device, run.runtime.threads)
    from ernie_tiny import processes
    from ernie_tiny.runs.pipeline import run_pipeline
    from ernie_tiny.training.loop import StageLoop

    forward_backward = StageLoop.forward_backward
    place = Path(f"{record}.{processes.rank()}")

    def recording(loop: StageLoop, model: Any, batch: Any, shares: Any) -> Any:
        stage, step = loop.settings.folder.name, loop.step
        if failure[1:4] == [stage, str(step), str(processes.rank())]:
            if failure[4] == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            os.kill(os.getppid(), signal.SIGTERM)
        with place.open("a", encoding="utf-8") as lines:
            print(stage, step, *batch.example_ids, file=lines)
        return forward_backward(loop, model, batch, shares)

    StageLoop.forward_backward = recording  # type: ignore[method-assign]
    run_pipeline(run)


if __name__ == "__main__":
    run_tool(main)
