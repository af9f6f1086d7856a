#!/usr/bin/env python3
"""Whether a training process's memory stays level: memory.py --data DIR --vocabulary FILE --output OUT

    python benchmarks/speed/memory.py ... [--minutes 20] [--settle 2] [--texts 'corpus/a.txt' 'corpus/*.txt']

MITKD's distillation, 12L768H to 4L312H, is trained by the project's own command on each text in turn (give one and one
ten times as large), and the resident memory of its process is read every --every seconds from the first step on. A line
a text: what it held at --settle minutes, the least and the most from there to --minutes, and how far these lie apart.
The process's own memory is the anonymous part; the rest are files that it maps, as the tokens of the text. All readings
are left in OUT/<number of the text>.csv: minutes, bytes resident, of these anonymous, steps taken.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ernie_tiny.files import to_json
from ernie_tiny.report.tables import Table
from ernie_tiny.runs.references import replaceable
from ernie_tiny.training.events import read_events

ROOT = Path(__file__).resolve().parents[2]
CONFIG = Path(__file__).with_name("against_pytorch") / "distil.yaml"

Sample = tuple[float, int, int, int]  # minutes since training began, bytes resident, of these anonymous, steps taken


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="data root")
    parser.add_argument("--vocabulary", required=True, help="ERNIE 3.0's vocab.txt")
    parser.add_argument("--output", type=Path, required=True, help="folder for the runs; those in it are removed")
    parser.add_argument("--texts", nargs="+", default=["corpus/*.txt"], help="patterns below the data root")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--settle", type=float, default=2.0)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two readings")
    parser.add_argument("-o", "--override", nargs="+", default=[], metavar="KEY=VALUE")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    rows = []
    for number, text in enumerate(args.texts):
        folder = args.output / str(number)
        shutil.rmtree(replaceable("--output", folder, "config.yaml"), ignore_errors=True)
        samples = watch(args, folder, text)
        size = sum(file.stat().st_size for file in args.data.glob(text))
        rows.append([text, f"{size / 1e6:,.0f}", *cells(samples, args.settle)])
    header = ["text", "MB", "minutes", "steps", "MB at the start", "least", "most", "apart", "of its own, apart"]
    print(Table(header, [rows]).markdown())


def watch(args: argparse.Namespace, folder: Path, text: str) -> list[Sample]:
    """The readings of a run, which is ended when the minutes are over."""
    command = [
        sys.executable, str(ROOT / "tools/train.py"), "-c", str(CONFIG), "-o", f"output_dir={to_json(str(folder))}",
        f"data.root={to_json(str(args.data))}", f"tokenizer.vocab={to_json(args.vocabulary)}",
        f"data.corpora.general.files={to_json([text])}", "runtime.logging_steps=1", *args.override,
    ]  # fmt: skip
    folder.mkdir(parents=True)
    with (folder.with_name(f"{folder.name}.log")).open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    samples: list[Sample] = []
    readings = folder.with_name(f"{folder.name}.csv").open("w", encoding="ascii", buffering=1)
    try:
        while not any(event["event"] == "train_begin" for event in read_events(folder)):
            require_running(process, log.name)
            time.sleep(0.2)
        start = time.monotonic()
        while (minutes := (time.monotonic() - start) / 60) < args.minutes:
            require_running(process, log.name)
            steps = sum(event["event"] == "log" for event in read_events(folder))
            samples.append((minutes, *resident(process.pid), steps))
            readings.write(",".join(map(str, samples[-1])) + "\n")
            time.sleep(args.every)
    finally:
        process.kill()
        process.wait()
        readings.close()
    return samples


def require_running(process: subprocess.Popen[bytes], log: str) -> None:
    if process.poll() is not None:
        raise SystemExit(f"the run ended before its minutes were over: see {log}")


def resident(process: int) -> tuple[int, int]:
    """Bytes that a process holds in memory, and how many of them are anonymous."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace").splitlines()
    found = {name: value for name, _, value in (line.partition(":") for line in lines)}
    return 1024 * int(found["VmRSS"].split()[0]), 1024 * int(found["RssAnon"].split()[0])


def cells(samples: Sequence[Sample], settle: float) -> list[str]:
    """The row of the readings from minute `settle` on."""
    counted = [sample for sample in samples if sample[0] >= settle]
    if not counted:
        raise SystemExit(f"no reading after minute {settle}: give more --minutes.")
    totals, own = [sample[1] for sample in counted], [sample[2] for sample in counted]
    span, steps = f"{counted[0][0]:.1f} to {counted[-1][0]:.1f}", f"{counted[0][3]:,} to {counted[-1][3]:,}"
    megabytes = [f"{value / 1e6:,.0f}" for value in (totals[0], min(totals), max(totals))]
    return [span, steps, *megabytes, *(f"{(max(values) - min(values)) / values[0]:.1%}" for values in (totals, own))]


if __name__ == "__main__":
    main()
