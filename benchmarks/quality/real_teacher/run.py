#!/usr/bin/env python3
"""The study with a real teacher: python benchmarks/quality/real_teacher/run.py --data DIR --teacher FOLDER --output OUT

Trains what is not finished, one run at a time, each from its last checkpoint. SIGTERM or Ctrl-C stops it within a step,
with a checkpoint; the same command goes on. --list trains nothing and says what there is to do.
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from benchmarks.quality.real_teacher.parts import Part, grid, queue
from ernie_tiny.config import load_config
from ernie_tiny.errors import InputError
from ernie_tiny.files import to_json
from ernie_tiny.runs.children import Children
from ernie_tiny.runs.record import RESULTS_FILE, read_results

TRAIN = Path(__file__).resolve().parents[3] / "tools/train.py"
LOG_FILE = "train.log"
SMOKE_EXAMPLES = 100  # dev examples of a task in a run that is shortened


def parse_args(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="data root")
    parser.add_argument("--teacher", type=Path, required=True, help="folder of the pretrained teacher")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--part", type=float, default=1.0, help="of each stage's steps, to see that every run works")
    parser.add_argument("--list", action="store_true", help="train nothing, list the runs with their states")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    args = parse_args(arguments)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it otherwise
    if args.list:
        for part in queue():
            print(f"{state(args.output / part.name):<9} {part.name}")
        return 0
    try:
        failed = run_queue(args, queue())
    except KeyboardInterrupt:
        return 130
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name in failed:
        print(f"{name} failed: see {args.output / name / LOG_FILE}", file=sys.stderr)
    return 1 if failed else 0


def state(folder: Path) -> str:
    if (folder / RESULTS_FILE).is_file():
        return "finished"
    return "begun" if folder.is_dir() else "waiting"


def run_queue(args: argparse.Namespace, parts: Sequence[Part]) -> list[str]:
    """Runs what is not finished, in order; names what failed, or goes on from what did."""
    failed: list[str] = []
    for part in parts:
        folder = args.output / part.name
        if state(folder) == "finished":
            continue
        if part.base in failed:
            failed.append(part.name)
            continue
        print(f"{part.name} begins", flush=True)
        command = (sys.executable, str(TRAIN), "-c", str(part.file), "-o", *overrides(args, part))
        with Children({str(folder): command}, 1, LOG_FILE) as children:
            code = next(iter(children))[1]
        print(f"{part.name} {'finished' if code == 0 else f'failed with exit code {code}'}", flush=True)
        if code:
            failed.append(part.name)
    return failed


def overrides(args: argparse.Namespace, part: Part) -> list[str]:
    """What tools/train.py is given for a part beside its config."""
    found = [f"data.root={to_json(str(args.data))}", f"output_dir={to_json(str(args.output / part.name))}"]
    if part.base is None:
        found.append(f"models.teacher.pretrained={to_json(str(args.teacher))}")
    else:
        found.append(f"base_run={to_json(str(args.output / part.base))}")
    found += part.settings
    if part.at_rate:
        rate = best_rate(args.output)
        found += [f"stages.{stage}.optim.learning_rate={rate}" for stage in part.at_rate]
    return found + shortened(part, found, args.part) if args.part < 1 else found


def shortened(part: Part, given: Sequence[str], share: float) -> list[str]:
    """Overrides that give each of a part's own stages a share of its steps, and each task a few dev examples."""
    found = [f"report.examples={SMOKE_EXAMPLES}"]
    for stage in load_config(part.file, given).stages:
        if stage.taken_from is not None:
            continue
        if stage.optim.max_steps is not None:
            found.append(f"stages.{stage.name}.optim.max_steps={math.ceil(share * stage.optim.max_steps)}")
        else:
            found.append(f"stages.{stage.name}.optim.epochs={share * (stage.optim.epochs or 0)}")
        for task, settings in stage.task_settings.items():
            if settings.epochs is not None:
                found.append(f"stages.{stage.name}.task_settings.{task}.epochs={share * settings.epochs}")
    return found


def best_rate(output: Path) -> str:
    """The rate of the grid with the best score on dev, the lower one of two alike.

    Raises:
        InputError: a run of the grid is not finished.
    """
    scores: dict[str, float] = {}
    for part in grid():
        results = read_results(output / part.name)
        if results is None:
            raise InputError(
                f"{output / part.name}: is not finished, so that no rate has won. Run the same command again."
            )
        scores[Path(part.name).name] = results.models[0].average
    return max(scores, key=lambda rate: (scores[rate], -float(rate)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
