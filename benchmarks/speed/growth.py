#!/usr/bin/env python3
"""What a run costs as its corpus, its students and the length of its texts grow: growth.py --data DIR --vocabulary FILE

    python benchmarks/speed/growth.py ... --output OUT [--cases corpus-10 ...] [--steps 20] [--megabytes 10]

A case is the stage of growth.yaml by the project's own commands: tools/prepare.py is timed as a whole (start-up of
Python and Paddle included), then tools/train.py is watched over --steps steps, behind --warm-up of them that are not
counted. The text of a case is the beginning of every file of the data, so that all have the same mix. A case that is
finished is not measured again; the table is of all that are.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.speed.memory import require_running, resident
from ernie_tiny.files import to_json, write_text
from ernie_tiny.report.tables import Table
from ernie_tiny.runs.references import replaceable
from ernie_tiny.runtime import processor
from ernie_tiny.training.events import read_events

ROOT = Path(__file__).resolve().parents[2]
CONFIG = Path(__file__).with_name("growth.yaml")
LENGTH, INPUTS = 128, 30
BASE = "base"
# How many times as much text, as many students, as long inputs (of which a step has fewer: its tokens stay the same).
CASES = {
    BASE: (1, 1, 1),
    **{f"corpus-{times}": (times, 1, 1) for times in (3, 10)},
    **{f"students-{times}": (1, times, 1) for times in (3, 10)},
    **{f"length-{times}": (1, 1, times) for times in (3, 10)},
}
COLUMNS = {  # heading to the cost and its digits
    "preparing, s": ("prepare", 1), "most it held, MB": ("prepare_peak", 0), "on disk, MB": ("stored", 1),
    "a step, s": ("step", 2), "resident, MB": ("resident", 0), "of its own, MB": ("own", 0),
}  # fmt: skip
EVERY = 0.1  # seconds between two readings of the memory


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with corpus/*.txt")
    parser.add_argument("--vocabulary", required=True, help="ERNIE 3.0's vocab.txt")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--cases", nargs="*", choices=CASES, default=list(CASES), help="none: print the table alone")
    parser.add_argument("--megabytes", type=float, default=10.0, help="of the smallest corpus")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warm-up", type=int, default=5)
    parser.add_argument("-o", "--override", nargs="+", default=[], metavar="KEY=VALUE")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    results = {case: args.output / f"{case}.json" for case in CASES}
    for case in args.cases:
        if not results[case].is_file():
            write_text(results[case], to_json(measure(args, case), indent=1) + "\n")
    found = {case: json.loads(file.read_text("utf-8")) for case, file in results.items() if file.is_file()}
    print(f"{processor().name}\n\n{table(found).markdown()}")


def measure(args: argparse.Namespace, case: str) -> dict[str, float]:
    """Megabytes of text and of its tokens, seconds and peak megabytes of preparing, seconds and megabytes of a step."""
    corpus, students, length = CASES[case]
    folder = args.output / case
    shutil.rmtree(replaceable("--output", folder, "run/config.yaml"), ignore_errors=True)
    text = write_share(sorted(args.data.glob("corpus/*.txt")), folder / "corpus", corpus * args.megabytes * 1e6)
    overrides = [
        f"output_dir={to_json(str(folder / 'run'))}", f"data.root={to_json(str(folder))}",
        f"tokenizer.vocab={to_json(str(Path(args.vocabulary).resolve()))}", "runtime.logging_steps=1",
        f"stages.distil.also_train={to_json([f'student{number}' for number in range(1, students)])}",
        f"stages.distil.data.max_length={LENGTH * length}", f"stages.distil.optim.batch_size={INPUTS // length}",
        *args.override,
    ]  # fmt: skip
    start = time.monotonic()
    _, status, used = os.wait4(started("prepare", overrides, folder).pid, 0)
    seconds = time.monotonic() - start
    if status:
        raise SystemExit(f"preparing failed: see {folder / 'prepare.log'}")
    stored = sum(file.stat().st_size for file in (folder / "run/corpora").rglob("*") if file.is_file())
    made = {"text": text, "stored": stored, "prepare_peak": used.ru_maxrss * 1024}
    costs = {name: size / 1e6 for name, size in made.items()}
    return {**costs, "prepare": seconds, **train(overrides, folder, args.warm_up, args.steps)}


def write_share(files: Sequence[Path], folder: Path, wanted: float) -> int:
    """Bytes written: the beginning of every file, whole lines and the same part of each, about as many as wanted."""
    share = wanted / sum(file.stat().st_size for file in files)
    if share > 1:
        raise SystemExit(f"{wanted / 1e6:,.0f} MB of text are asked for, more than there are: give --megabytes.")
    folder.mkdir(parents=True)
    written = 0
    for file in files:
        with file.open("rb") as stream:
            lines = stream.readlines(max(1, int(share * file.stat().st_size)))
        written += (folder / file.name).write_bytes(b"".join(lines))
    return written


def train(overrides: Sequence[str], folder: Path, warm_up: int, steps: int) -> dict[str, float]:
    """The median seconds of a step, and megabytes resident at the most, over the steps that are counted."""
    process = started("train", overrides, folder)
    readings: list[tuple[int, int]] = []
    try:
        times = step_times(folder / "run")
        while len(times) <= warm_up + steps or not readings:
            require_running(process, str(folder / "train.log"))
            if len(times) > warm_up:
                readings.append(resident(process.pid))
            time.sleep(EVERY)
            times = step_times(folder / "run")
    finally:
        process.kill()
        process.wait()
    counted = times[warm_up : warm_up + steps + 1]
    total, own = (max(values) / 1e6 for values in zip(*readings))
    return {"step": statistics.median(b - a for a, b in zip(counted, counted[1:])), "resident": total, "own": own}


def step_times(run: Path) -> list[float]:
    return [event["time"] for event in read_events(run) if event["event"] == "log"]


def started(tool: str, overrides: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(ROOT / f"tools/{tool}.py"), "-c", str(CONFIG), "-o", *overrides]
    with (folder / f"{tool}.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


def table(found: Mapping[str, Mapping[str, float]]) -> Table:
    """A row a case, each cost with its ratio to the first case's."""
    base = found.get(BASE, {})
    rows = []
    for case, costs in found.items():
        _, students, length = CASES[case]
        row = {"case": case, "text, MB": f"{costs['text']:,.0f}", "students": str(students)}
        row["tokens a step"] = f"{INPUTS // length} x {LENGTH * length:,}"
        for heading, (name, digits) in COLUMNS.items():
            row[heading] = f"{costs[name]:,.{digits}f}" + (f" ({costs[name] / base[name]:.2f})" if base else "")
        rows.append(row)
    return Table.of(rows)


if __name__ == "__main__":
    main()
